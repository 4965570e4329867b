// What this browser can decode, according to Media Source Extensions and the codecs that the relay reports.

/** The most common profile, for a codec whose configuration the relay has not parsed. */
const COMMON_PROFILE = {
  'H.264': 'avc1.64001F', HEVC: 'hvc1.1.6.L93.B0', 'H.265': 'hvc1.1.6.L93.B0', AV1: 'av01.0.08M.08',
  AAC: 'mp4a.40.2', MP3: 'mp3', Opus: 'opus', FLAC: 'flac',
};
/** The codecs that mpegts.js demuxes from FLV. */
const DEMUXED = new Set(Object.keys(COMMON_PROFILE));

export const canPlayAnything = () => globalThis.mpegts?.isSupported() ?? false;

function canDecode(kind, track) {
  const source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;
  if (!source || !DEMUXED.has(track.codec)) return false;
  const codec = track.codec_string ?? COMMON_PROFILE[track.codec];
  return [`${kind}/mp4; codecs="${codec}"`, codec === 'mp3' ? 'audio/mpeg' : ''].some((type) => type && source.isTypeSupported(type));
}

/** {video, audio}: 'yes', 'no' (there is a track, but it cannot be decoded) or 'none'. */
export function playable(stream) {
  const answer = (kind, track) => (!track ? 'none' : canDecode(kind, track) ? 'yes' : 'no');
  return { video: answer('video', stream.video), audio: answer('audio', stream.audio) };
}
