// Numbers formatted for people. Pure.

export function duration(ms) {
  if (ms === null || ms === undefined) return '–';
  const seconds = Math.floor(ms / 1000);
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${String(minutes).padStart(2, '0')} min`;
  if (minutes > 0) return `${minutes} min ${String(seconds % 60).padStart(2, '0')} s`;
  return `${seconds} s`;
}

export function rate(kbps) {
  if (kbps === null || kbps === undefined) return '–';
  if (kbps >= 1e6) return `${digits(kbps / 1e6)} Gbit/s`;
  if (kbps >= 1000) return `${digits(kbps / 1000)} Mbit/s`;
  return `${Math.round(kbps)} kbit/s`;
}

export function bytes(count) {
  if (count === null || count === undefined) return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) { count /= 1024; unit += 1; }
  return `${unit === 0 ? count : digits(count)} ${units[unit]}`;
}

export const number = (value) => value === null || value === undefined ? '–' : value.toLocaleString('en-GB');
export const percent = (share) => share === null || share === undefined ? '–' : `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`;
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** Three significant digits: 2.04, 20.4, 204. */
function digits(value) {
  return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
}

export function videoText(video) {
  if (!video) return null;
  // Lines break between the parts, not within them.
  const size = video.width && video.height ? `${video.width}\u00a0×\u00a0${video.height}` : null;
  const fps = video.fps ? `${Number(video.fps.toFixed(2))}\u00a0fps` : null;
  return [video.codec, size, fps].filter(Boolean).join(' · ');
}

export function audioText(audio) {
  if (!audio) return null;
  const sample_rate = audio.sample_rate_hz ? `${Number((audio.sample_rate_hz / 1000).toFixed(2))}\u00a0kHz` : null;
  const channels = { 1: 'mono', 2: 'stereo' }[audio.channels] ?? (audio.channels ? `${audio.channels} channels` : null);
  return [audio.codec, sample_rate, channels].filter(Boolean).join(' · ');
}

const BROWSERS = [['Edge', /Edg\/(\d+)/], ['Opera', /OPR\/(\d+)/], ['Firefox', /Firefox\/(\d+)/], ['Chrome', /Chrome\/(\d+)/], ['Safari', /Version\/(\d+).* Safari\//]];

/** What matters of a name that clients state: `Chrome 156`, `VLC 3.0.18`, `Lavf63.1.102` of an encoder's `FMLE/3.0 (…)`. */
export function clientText(client) {
  if (!client) return '–';
  if (client.startsWith('Mozilla/')) {
    const [name, pattern] = BROWSERS.find(([, version]) => version.test(client)) ?? [];
    if (name) return `${name} ${pattern.exec(client)[1]}`;
  }
  return /^FMLE\/3\.0 \(compatible; (.+)\)$/.exec(client)?.[1] ?? client.replace(/^([\w.-]+)\/([\w.-]+)( .*)?$/, '$1 $2');
}

/** The encoder is connected and sends nothing. Encoders that send video a few times per second are not silent. */
export const isSilent = ({ is_live, idle_ms }) => Boolean(is_live && idle_ms > 3000);

/** `2 video tracks and 3 audio tracks`; null if there is at most one of each, which is all that this page can play. */
export function tracks(stream) {
  const { video_tracks: video = 0, audio_tracks: audio = 0 } = stream ?? {};
  if (!(video > 1 || audio > 1)) return null;
  return [video > 0 && plural(video, 'video track'), audio > 0 && plural(audio, 'audio track')].filter(Boolean).join(' and ');
}

const natural = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });
/** `cam-2` before `cam-10`. */
export const byName = (a, b) => natural.compare(a, b);

/** `live/live_stream` -> [`live`, `live_stream`] */
export function splitName(name) {
  const slash = name.indexOf('/');
  return slash < 0 ? ['', name] : [name.slice(0, slash), name.slice(slash + 1)];
}
