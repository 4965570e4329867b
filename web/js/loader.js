// Receives one stream as FLV for mpegts.js, over WebSocket or as an HTTP body, and reads the times in it.

/**
 * A loader for `mpegts.createPlayer`. WebSocket is the better one: an HTTP/1.1 body keeps one of the six connections that a
 * browser opens per host, so six tabs would leave none for the API. `times.newest` is the newest timestamp received.
 */
export const liveLoader = (times) => class extends mpegts.BaseLoader {
  constructor() {
    super('fanfare');
    this.received = 0;
  }

  static isSupported() { return true; }

  open({ url }) {
    this._status = mpegts.LoaderStatus.kConnecting;
    if (url.startsWith('ws')) this.openSocket(url);
    else this.openBody(url);
  }

  openSocket(url) {
    const socket = this.socket = new WebSocket(url);
    let isOpen = false;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => { isOpen = true; };
    socket.onmessage = ({ data }) => this.receive(data);
    // A close without an open is a refusal: the browser hides its status.
    socket.onclose = () => (isOpen ? this.complete() : this.fail(mpegts.LoaderErrors.EXCEPTION, 'no WebSocket'));
  }

  async openBody(url) {
    this.request = new AbortController();
    try {
      const response = await fetch(url, { signal: this.request.signal, cache: 'no-store', referrerPolicy: 'no-referrer' });
      if (!response.ok) { this.fail(mpegts.LoaderErrors.HTTP_STATUS_CODE_INVALID, response.statusText, response.status); return; }
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        this.receive(value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength));
      }
      this.complete();
    } catch (error) { this.fail(mpegts.LoaderErrors.EXCEPTION, error.message); }
  }

  receive(data) {
    if (this.isGone) return;
    this._status = mpegts.LoaderStatus.kBuffering;
    times.read(new Uint8Array(data));
    const before = this.received;
    this.received += data.byteLength;
    this._onDataArrival?.(data, before, this.received);
  }

  complete() {
    if (this.isGone) return;
    this.isGone = true;
    this._status = mpegts.LoaderStatus.kComplete;
    this._onComplete?.(0, this.received - 1);
  }

  fail(kind, msg, code = -1) {
    if (this.isGone) return;
    this.isGone = true;
    this._status = mpegts.LoaderStatus.kError;
    this._onError?.(kind, { code, msg });
  }

  abort() {
    this.isGone = true;
    this._status = mpegts.LoaderStatus.kComplete;
    this.socket?.close();
    this.request?.abort();
  }

  destroy() { this.abort(); super.destroy(); }
};

/** The timestamps of a stream of FLV tags, however its bytes are cut. */
export class TagTimes {
  constructor() {
    /** Milliseconds modulo 2^32; null before the first frame. */
    this.newest = null;
    /** Bytes until the next tag: now those of the file header. */
    this.skip = 13;
    this.head = new Uint8Array(11);
    this.have = 0;
  }

  read(bytes) {
    for (let at = 0; at < bytes.length;) {
      if (this.skip > 0) {
        const skipped = Math.min(this.skip, bytes.length - at);
        this.skip -= skipped;
        at += skipped;
        continue;
      }
      this.head[this.have] = bytes[at];
      this.have += 1;
      at += 1;
      if (this.have === this.head.length) this.tag(new DataView(this.head.buffer));
    }
  }

  tag(head) {
    this.have = 0;
    // The tag's body and its size, which is repeated after it.
    this.skip = (head.getUint32(0) & 0xffffff) + 4;
    const kind = head.getUint8(0) & 31;
    if (kind !== 8 && kind !== 9) return;
    const time = (head.getUint32(4) >>> 8 | head.getUint8(7) << 24) >>> 0;
    if (this.newest === null || later(time, this.newest) > 0) this.newest = time;
  }
}

/** How much later the first timestamp is than the second one, which may be across the wrap at 2^32; milliseconds. */
export const later = (time, than) => (time - than) | 0;
