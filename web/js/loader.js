// Receives one stream as FLV for mpegts.js, over WebSocket or as an HTTP body.

/** Close codes of a WebSocket, and the status that HTTP has for the same. */
const DENIED = { 4401: 401, 4403: 403 };

/**
 * A loader for `mpegts.createPlayer`. WebSocket is the better one: an HTTP/1.1 body keeps one of the six connections that a
 * browser opens per host, so six tabs would leave none for the API. `tags` is a `TagFilter`.
 */
export const liveLoader = (tags) => class extends mpegts.BaseLoader {
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
    // A close without an open is a refusal: the browser hides its status. So the relay opens a WebSocket to say why not.
    socket.onclose = ({ code, reason }) => {
      if (code in DENIED) this.deny(DENIED[code], reason);
      else if (isOpen) this.complete();
      else this.fail(mpegts.LoaderErrors.EXCEPTION, 'no WebSocket');
    };
  }

  async openBody(url) {
    this.request = new AbortController();
    try {
      const response = await fetch(url, { signal: this.request.signal, cache: 'no-store', referrerPolicy: 'no-referrer' });
      if ([401, 403].includes(response.status)) {
        const answer = await response.json().catch(() => null);
        this.deny(response.status, answer?.detail ?? '');
        return;
      }
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
    const kept = tags.pass(new Uint8Array(data));
    const before = this.received;
    this.received += kept.byteLength;
    try {
      if (kept.byteLength > 0) this._onDataArrival?.(kept.buffer, before, this.received);
    } catch (error) { this.fail(mpegts.LoaderErrors.EXCEPTION, error.message); }
  }

  complete() {
    if (this.isGone) return;
    this.isGone = true;
    this._status = mpegts.LoaderStatus.kComplete;
    this._onComplete?.(0, this.received - 1);
  }

  /** Access is denied, or has ended. */
  deny(status, reason) { this.fail(mpegts.LoaderErrors.HTTP_STATUS_CODE_INVALID, reason, status); }

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
