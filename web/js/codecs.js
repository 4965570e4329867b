// What plays a stream: this page, as far as mpegts.js reads it and this browser decodes it; other players, as docs/codecs.md has them.

/** The codecs that mpegts.js reads from FLV, each with its most common profile, for a configuration that the relay has not parsed. */
const PROFILES = { 'H.264': 'avc1.64001F', HEVC: 'hvc1.1.6.L93.B0', AAC: 'mp4a.40.2', MP3: 'mp3', Opus: 'opus' };
/** The codecs that every player reads from FLV. */
const EVERYWHERE = ['H.264', 'AAC', 'MP3'];
/** The first FFmpeg that reads the others. */
const SINCE = { HEVC: 6.1, VP9: 6.1, AV1: 6.1, Opus: 8, FLAC: 8, 'AC-3': 8, 'E-AC-3': 8 };

export const canPlayAnything = () => globalThis.mpegts?.isSupported() ?? false;

/** {video, audio}: 'yes', 'no' (there is a track, but this page cannot play it) or 'none'. */
export function playable(stream) {
  const answer = (kind, track) => (!track ? 'none' : obstacle(kind, track) ? 'no' : 'yes');
  return { video: answer('video', stream.video), audio: answer('audio', stream.audio) };
}

/** Why this page does not play a track; null if it does. */
export function obstacle(kind, { codec, codec_string }) {
  const profile = PROFILES[codec];
  if (!profile) return `This page cannot play ${codec}`;
  const source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;
  const types = [`${kind}/mp4; codecs="${codec_string ?? profile}"`, codec === 'MP3' ? 'audio/mpeg' : ''];
  return types.some((type) => type && source?.isTypeSupported(type)) ? null : `This browser cannot decode ${codec}`;
}

/** Other players that play all of a stream: `hint` names them, `ffmpeg` is the oldest FFmpeg that they need, null if any will do. */
export function elsewhere(stream) {
  const codecs = [stream?.video?.codec, stream?.audio?.codec].filter((codec) => codec && !EVERYWHERE.includes(codec));
  if (codecs.length === 0) return { ffmpeg: null, hint: 'VLC, mpv and ffplay can play it.' };
  if (!codecs.every((codec) => codec in SINCE)) return { ffmpeg: null, hint: 'Try one of the addresses in ffplay, mpv or VLC.' };
  const ffmpeg = Math.max(...codecs.map((codec) => SINCE[codec])).toFixed(1);
  return { ffmpeg, hint: `ffplay and mpv can play it if they are built with FFmpeg ${ffmpeg} or newer.` };
}
