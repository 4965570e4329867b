// Plays one live stream into a <video>: connects, keeps near the live edge, waits for the encoder, comes back. Shows nothing.
import { flv } from './addresses.js';
import { playable } from './codecs.js';

/** How far behind the newest frame to stay, in seconds: some frames for the decoder, and what the network shakes. */
const TARGET_S = 0.45;
/** A network that makes playback stall gets more, up to this. */
const TARGET_MAX_S = 2.5;
/** Further behind than target + this, playing faster would take too long: jump. */
const JUMP_S = 2;
const TICK_MS = 200;
/** No new picture for so long: the encoder, not the network's shaking. */
const SILENT_MS = 1500;
/** The relay hears the encoder and we see nothing: connect anew. */
const STUCK_MS = 4000;
/** A connection so young may be about to hear of all that the stream has. */
const KINDS_MS = 3000;
/** Time for the relay to know that an encoder is gone when it ended our connection; past it, the relay ended us. */
const SETTLE_MS = 2500;
const RETRY_MS = [0, 500, 1000, 2000, 4000, 8000];
/** After the relay ended us and not the stream: an operator did, or its time came to an end. Longer each time in a row. */
const AGAIN_MS = [6000, 15000, 30000, 60000];
/** A connection that lasted for so long went well. */
const STEADY_MS = 20000;
/** All players of a relay are ended in the same moment when their encoder comes back with other tracks. */
const SPREAD_MS = 400;

/**
 * `onchange(state)`: connecting | playing | waiting (for the encoder) | paused | blocked (autoplay) | closed (by the relay) |
 * unsupported | failed. `update(stream)` takes what the relay says of the stream, again and again; the rest follows from it.
 */
export class LivePlayer {
  constructor(video, frozen, onchange) {
    Object.assign(this, { video, frozen, onchange, state: null, stream: null, engine: null, paused: false, failures: 0, endings: 0, nextTry: 0 });
    this.target = TARGET_S;
    this.websocket = false;
    this.seen = { time: 0, at: 0 };
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.listeners = {
      waiting: () => this.stalled(),
      loadeddata: () => { this.frozen.hidden = true; },
      error: () => this.engine && video.error && this.lose('error'),
    };
    for (const [name, listener] of Object.entries(this.listeners)) video.addEventListener(name, listener);
  }

  destroy() {
    clearInterval(this.timer);
    for (const [name, listener] of Object.entries(this.listeners)) this.video.removeEventListener(name, listener);
    this.disconnect();
    this.onchange = () => {};
    this.isGone = true;
  }

  /** Seconds from the picture on the screen to the newest one in this browser; null while nothing plays. */
  get latency() {
    const { buffered, currentTime, readyState } = this.video;
    if (!this.engine || readyState < 2 || buffered.length === 0) return null;
    return Math.max(0, buffered.end(buffered.length - 1) - currentTime);
  }

  /** What the relay says of the stream; null if there is none. */
  update(stream) { later(() => { if (!this.isGone) this.follow(stream); }); }

  follow(stream) {
    const now = performance.now();
    const before = this.stream;
    this.stream = stream;
    if (this.paused || this.state === 'unsupported' && stream?.publisher?.id === before?.publisher?.id) return;
    if (!stream?.is_live) {
      this.failures = 0;
      if (!this.engine) this.become('waiting');
      return;
    }
    if (this.engine) {
      const isStuck = now - this.seen.at > STUCK_MS && stream.silent_ms < 1000;
      if (isStuck && this.state !== 'blocked' && !document.hidden) this.lose('stuck');
      else if (now - this.joined.at > KINDS_MS && this.misses(stream)) this.connect();
      return;
    }
    // An encoder that came back with other tracks is another publish: the way back to it is at once.
    if (this.ended && samePublish(this.ended.stream, stream)) {
      const since = now - this.ended.at;
      if (since < SETTLE_MS) return;
      if (since < AGAIN_MS[Math.min(this.endings, AGAIN_MS.length) - 1]) { this.become('closed'); return; }
    }
    if (now >= this.nextTry) this.connect();
  }

  connect() {
    this.ended = null;
    const stream = this.stream;
    const can = playable(stream);
    if (can.video === 'no' || (can.video === 'none' && can.audio === 'no')) { this.become('unsupported'); return; }
    // Just published: the relay may not have seen both tracks yet, so what the FLV header says goes.
    const known = stream.uptime_ms > 3000 || this.failures > 0;
    if (known && can.video === 'none' && can.audio === 'none') { this.lose('empty'); return; }
    const tracks = {};
    if (known || can.audio === 'no') tracks.hasAudio = can.audio === 'yes';
    if (known) tracks.hasVideo = can.video === 'yes';

    this.become('connecting');
    this.disconnect();
    const { Events, ErrorDetails } = mpegts;
    const engine = mpegts.createPlayer(
      { type: 'flv', isLive: true, url: flv(stream.name, { websocket: this.websocket }), ...tracks },
      { enableStashBuffer: false, lazyLoad: false, autoCleanupSourceBuffer: true, autoCleanupMaxBackwardDuration: 20, autoCleanupMinBackwardDuration: 8 },
    );
    const mine = (what) => (...details) => later(() => { if (this.engine === engine) what(...details); });
    engine.on(Events.MEDIA_INFO, mine((info) => { this.heard = info; }));
    engine.on(Events.LOADING_COMPLETE, mine(() => this.lose('ended')));
    engine.on(Events.ERROR, mine((type, detail) => {
      if (detail === ErrorDetails.MEDIA_CODEC_UNSUPPORTED) { this.disconnect(); this.become('unsupported'); } else this.lose('error');
    }));
    Object.assign(this, { engine, heard: null, jumped: false, joined: { stream, at: performance.now() } });
    this.seen = { time: 0, at: performance.now() };
    engine.attachMediaElement(this.video);
    engine.load();
    this.play();
  }

  async play() {
    const engine = this.engine;
    try {
      await this.video.play();
    } catch (error) {
      // AbortError: it was taken away while it was about to start. Only a refusal is for the person to mend.
      if (error.name === 'NotAllowedError' && this.engine === engine) this.become('blocked');
    }
  }

  /** The stream has sound, or a picture, that came after this connection began: a browser takes no further track later. */
  misses(stream) {
    const can = playable(stream);
    return this.heard && (can.audio === 'yes' && this.heard.hasAudio === false || can.video === 'yes' && this.heard.hasVideo === false);
  }

  /** The connection is of no more use. What comes next, the next `update` says. */
  lose(why) {
    const { heard, joined } = this;
    const now = performance.now();
    this.disconnect();
    if (heard && why === 'ended') {
      this.ended = { stream: joined.stream, at: now };
      this.endings = now - joined.at > STEADY_MS ? 1 : this.endings + 1;
      this.failures = 0;
    } else {
      this.failures += 1;
      // Perhaps a proxy that holds bodies back, or six tabs that have all connections of this browser: the other way in.
      if (!heard) this.websocket = !this.websocket;
    }
    this.nextTry = now + RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)] + Math.random() * SPREAD_MS;
    this.become(this.failures > 3 ? 'failed' : 'waiting');
  }

  disconnect() {
    if (!this.engine) return;
    this.freeze();
    const engine = this.engine;
    this.engine = null;
    engine.destroy();
  }

  /** The last picture stays on the screen. */
  freeze() {
    const { videoWidth, videoHeight, readyState } = this.video;
    if (readyState < 2 || videoWidth === 0) return;
    Object.assign(this.frozen, { width: videoWidth, height: videoHeight, hidden: false });
    this.frozen.getContext('2d').drawImage(this.video, 0, 0);
  }

  pause() {
    this.paused = true;
    // A pause holds no connection: what it would buffer is thrown away on going on, for live is now.
    this.disconnect();
    this.become('paused');
  }

  resume() {
    Object.assign(this, { paused: false, ended: null, nextTry: 0, failures: 0, endings: 0 });
    if (this.engine) this.play();
    else if (this.stream?.is_live) this.connect();
    else this.become('waiting');
  }

  jump() {
    const { buffered } = this.video;
    if (this.engine && buffered.length > 0) {
      const last = buffered.length - 1;
      this.video.currentTime = Math.max(buffered.start(last), buffered.end(last) - this.target);
      this.video.playbackRate = 1;
    }
  }

  stalled() {
    // Not the start, and not an encoder that stopped: then there is nothing to be nearer to.
    if (this.state !== 'playing' || performance.now() - this.jumpedAt < 1000) return;
    this.target = Math.min(TARGET_MAX_S, this.target * 1.3);
  }

  tick() {
    if (!this.engine || this.paused) return;
    const { video } = this;
    const now = performance.now();
    if (video.currentTime !== this.seen.time && video.readyState >= 2) {
      this.seen = { time: video.currentTime, at: now };
      if (!video.paused) { this.failures = 0; this.become('playing'); }
    } else if (now - this.seen.at > SILENT_MS && this.state === 'playing') {
      this.become('waiting');
    }
    // A tab that was put away may find its video paused.
    if (video.paused && this.state !== 'blocked' && video.readyState >= 2) this.play();
    this.chase(now);
  }

  chase(now) {
    const { video, latency } = this;
    if (latency === null || video.seeking) return;
    const { buffered, currentTime } = video;
    const inside = currentTime >= buffered.start(buffered.length - 1) - 0.05;
    const far = latency > this.target + (this.jumped ? JUMP_S : 0.6);
    if (!inside || far) {
      this.jumped = true;
      this.jumpedAt = now;
      this.jump();
    } else if (latency > this.target + 0.25) {
      video.playbackRate = latency > this.target + 0.8 ? 1.2 : 1.08;
    } else if (latency <= this.target) {
      video.playbackRate = 1;
    }
  }

  become(state) {
    if (state === this.state) return;
    this.state = state;
    this.onchange(state);
  }
}

/** In a task of its own: mpegts.js must not be destroyed between two events that it is about to tell. */
const later = (what) => { setTimeout(what); };

const samePublish = (before, now) => before?.publisher?.id === now.publisher?.id && before?.uptime_ms <= now.uptime_ms;
