// Reads FLV tag by tag, however its bytes are cut: the newest time in it, without the tags that mpegts.js fails on. Pure.

/** The file header, and the size of the tag before the first one. */
const FILE_HEADER = 13;
/** A tag's header, and the first byte of its body. */
const HEAD = 12;
const AUDIO = 8;
const VIDEO = 9;
/** Enhanced RTMP: sequence start, coded frames, sequence end, coded frames without a composition time. */
const LAST_KNOWN_PACKET = 3;

export class TagFilter {
  constructor() {
    /** The timestamps of the first frame and of the newest one: milliseconds modulo 2^32; null before the first frame. */
    this.first = this.newest = null;
    this.left = FILE_HEADER;
    this.isKept = true;
    this.head = new Uint8Array(HEAD);
    this.have = 0;
  }

  /** The next bytes of the stream, without those of tags that mpegts.js fails on. */
  pass(bytes) {
    const kept = [];
    for (let at = 0; at < bytes.length;) {
      if (this.left > 0) {
        const part = bytes.subarray(at, at + this.left);
        if (this.isKept) kept.push(part);
        this.left -= part.length;
        at += part.length;
        continue;
      }
      this.head[this.have] = bytes[at];
      this.have += 1;
      at += 1;
      if (this.have === HEAD) this.tag(kept);
    }
    return joined(kept);
  }

  tag(kept) {
    this.have = 0;
    const head = new DataView(this.head.buffer);
    const kind = head.getUint8(0) & 31;
    // One byte of the body is in the head. The tag's size is repeated after it.
    this.left = (head.getUint32(0) & 0xffffff) - 1 + 4;
    this.isKept = isReadable(kind, head.getUint8(11));
    if (this.isKept) kept.push(this.head.slice());
    if (kind !== AUDIO && kind !== VIDEO) return;
    const time = (head.getUint32(4) >>> 8 | head.getUint8(7) << 24) >>> 0;
    this.first ??= time;
    if (this.newest === null || later(time, this.newest) > 0) this.newest = time;
  }

  /** How much of the stream has been received, in milliseconds of playing time. */
  get duration() { return this.first === null ? 0 : later(this.newest, this.first); }
}

/**
 * mpegts.js takes the packets that newer encoders add for errors: a video's colours, an audio's channels, further tracks. All
 * of a stream that it can play is in the others.
 */
function isReadable(kind, first) {
  const isEnhanced = kind === VIDEO ? first >> 7 === 1 : kind === AUDIO && first >> 4 === 9;
  return !isEnhanced || (first & 15) <= LAST_KNOWN_PACKET;
}

function joined(parts) {
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) { all.set(part, at); at += part.length; }
  return all;
}

/** How much later the first timestamp is than the second one, which may be across the wrap at 2^32; milliseconds. */
export const later = (time, than) => (time - than) | 0;
