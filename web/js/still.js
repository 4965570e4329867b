// Stills for the cards: one key frame of each stream that is on the screen, decoded off it, one at a time.
import { api, headers } from './api.js';
import { canPlayAnything, playable } from './codecs.js';
import { h } from './dom.js';

const REFRESH_MS = 15000;
const DECODE_MS = 5000;
const WIDTH = 640;

/** The still of a card: a canvas that keeps its last picture. `onstill()` when there is one. */
export class Stills {
  constructor() {
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

  add(canvas, stream, onstill) {
    this.cards.set(canvas, { canvas, stream, onstill, isVisible: false, due: 0 });
    this.seen.observe(canvas);
  }

  update(canvas, stream) {
    const card = this.cards.get(canvas);
    if (card.stream.publisher?.id !== stream.publisher?.id) card.due = 0;
    card.stream = stream;
  }

  remove(canvas) {
    this.seen.unobserve(canvas);
    this.cards.delete(canvas);
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
        if (this.cards.has(card.canvas)) card.onstill();
      } catch { card.due = now + REFRESH_MS / 3; }
    }
    this.isWorking = false;
  }
}

/** WebCodecs would be shorter, but is kept from pages that come over plain http; Media Source Extensions are not. */
function draw(stream, canvas) {
  const video = h('video', { muted: true, playsinline: true, preload: 'auto' });
  video.muted = true;
  const player = mpegts.createPlayer(
    { type: 'flv', isLive: false, url: api.stillAddress(stream.name), hasAudio: false, hasVideo: true },
    { enableStashBuffer: false, lazyLoad: false, headers: headers() },
  );
  return new Promise((resolve, reject) => {
    const timeout = setTimeout(() => reject(new Error('no still in time')), DECODE_MS);
    video.addEventListener('loadeddata', () => {
      clearTimeout(timeout);
      const scale = Math.min(1, WIDTH / video.videoWidth);
      canvas.width = Math.round(video.videoWidth * scale);
      canvas.height = Math.round(video.videoHeight * scale);
      canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
      resolve();
    });
    video.addEventListener('error', () => reject(video.error));
    player.on(mpegts.Events.ERROR, (type, detail) => { clearTimeout(timeout); reject(new Error(detail)); });
    player.attachMediaElement(video);
    player.load();
  }).finally(() => player.destroy());
}
