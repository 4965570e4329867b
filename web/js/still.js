// Stills for the cards: one key frame of each visible stream, decoded off-screen, one at a time.
import { api } from './api.js';
import { canPlayAnything, playable } from './codecs.js';
import { h } from './dom.js';
import { TagFilter } from './tags.js';

const REFRESH_MS = 15000;
const DECODE_MS = 5000;
const RETRY_MS = 20;
const WIDTH = 640;

/** Draws stills on the canvases of cards; a canvas keeps its last still. Calls `onstill()` after each one. */
export class Stills {
  constructor() {
    /** By the observed element; the canvas in it stays hidden until its first still. */
    this.cards = new Map();
    this.seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const card = this.cards.get(target);
        if (card) card.isVisible = isIntersecting;
      }
      this.work();
    }, { rootMargin: '100px' });
    this.timer = setInterval(() => this.work(), 1000);
  }

  add(frame, canvas, stream, onstill) {
    this.cards.set(frame, { canvas, stream, onstill, isVisible: false, due: 0 });
    this.seen.observe(frame);
  }

  update(frame, stream) {
    const card = this.cards.get(frame);
    if (card.stream.publisher?.id !== stream.publisher?.id) card.due = 0;
    card.stream = stream;
  }

  remove(frame) {
    this.seen.unobserve(frame);
    this.cards.delete(frame);
  }

  close() {
    clearInterval(this.timer);
    this.seen.disconnect();
    this.cards.clear();
  }

  async work() {
    if (this.isWorking || document.hidden || !canPlayAnything()) return;
    this.isWorking = true;
    for (;;) {
      const now = performance.now();
      const due = [...this.cards.values()].filter((card) => card.isVisible && card.stream.is_live && card.due <= now);
      const card = due.sort((a, b) => a.due - b.due)[0];
      if (!card) break;
      card.due = now + REFRESH_MS;
      if (playable(card.stream).video !== 'yes') continue;
      try {
        await draw(card.stream, card.canvas);
        card.onstill();
      } catch { card.due = now + REFRESH_MS / 3; }
    }
    this.isWorking = false;
  }
}

/** WebCodecs would be shorter, but browsers disable it on plain-HTTP pages; Media Source Extensions work there. */
async function draw(stream, canvas) {
  const body = withRepeatedFrame(new TagFilter().pass(new Uint8Array(await api.still(stream.name))).buffer);
  const video = h('video', { playsinline: true, preload: 'auto' });
  video.muted = true;
  const player = mpegts.createPlayer(
    { type: 'flv', isLive: false, url: 'still.flv', hasAudio: false, hasVideo: true },
    { enableStashBuffer: false, lazyLoad: false, customLoader: loaderOf(body) },
  );
  let timeout;
  let retry;
  await new Promise((resolve, reject) => {
    timeout = setTimeout(() => reject(new Error('still timed out')), DECODE_MS);
    video.addEventListener('loadeddata', () => {
      const scale = Math.min(1, WIDTH / video.videoWidth);
      canvas.width = Math.round(video.videoWidth * scale);
      canvas.height = Math.round(video.videoHeight * scale);
      const context = canvas.getContext('2d');
      // A busy browser fires loadeddata before it can draw the frame. It draws nothing then, and the canvas stays clear.
      const drawFrame = () => {
        context.drawImage(video, 0, 0, canvas.width, canvas.height);
        const [, , , opacity] = context.getImageData(canvas.width >> 1, canvas.height >> 1, 1, 1).data;
        if (opacity > 0) resolve();
        else retry = setTimeout(drawFrame, RETRY_MS);
      };
      drawFrame();
    });
    video.addEventListener('error', () => reject(video.error));
    player.on(mpegts.Events.ERROR, (type, detail) => reject(new Error(detail)));
    player.attachMediaElement(video);
    player.load();
  }).finally(() => { clearTimeout(timeout); clearTimeout(retry); player.destroy(); });
}

/** mpegts.js holds a frame until the next one gives its duration, so the frame is repeated 100 ms later. */
function withRepeatedFrame(body) {
  const view = new DataView(body);
  let frame = null;
  for (let at = view.getUint32(5) + 4; at + 11 <= body.byteLength;) {
    const end = at + 15 + (view.getUint32(at) & 0xffffff);
    if (view.getUint8(at) === 9 && end <= body.byteLength) frame = [at, end];
    at = end;
  }
  if (!frame) throw new Error('no frame in the still');
  const [start, end] = frame;
  const whole = new Uint8Array(body.byteLength + end - start);
  whole.set(new Uint8Array(body));
  whole.set(new Uint8Array(body, start, end - start), body.byteLength);
  const later = (view.getUint32(start + 4) >>> 8 | view.getUint8(start + 7) << 24) + 100;
  new DataView(whole.buffer).setUint32(body.byteLength + 4, later << 8 | later >>> 24);
  return whole.buffer;
}

const loaderOf = (body) => class extends mpegts.BaseLoader {
  constructor() { super('still'); }
  static isSupported() { return true; }
  open() {
    this._status = mpegts.LoaderStatus.kBuffering;
    setTimeout(() => {
      if (this._isGone) return;
      this._onDataArrival(body, 0, body.byteLength);
      this._status = mpegts.LoaderStatus.kComplete;
      this._onComplete?.(0, body.byteLength - 1);
    });
  }
  abort() { this._isGone = true; this._status = mpegts.LoaderStatus.kComplete; }
  destroy() { this.abort(); super.destroy(); }
};
