// Plays one live stream in a <video>: connects, stays near the live edge, waits for the encoder, reconnects. Displays nothing.
import { credentials, flv } from './addresses.js';
import { playable } from './codecs.js';
import { liveLoader } from './loader.js';
import { TagFilter, later as laterBy } from './tags.js';
import { Turns } from './turns.js';

/** How far behind the newest frame to stay, in seconds: a few frames for the decoder, and network jitter. */
const TARGET_S = 0.45;
/** If the network makes playback stall, the target grows up to this. */
const TARGET_MAX_S = 2.5;
/** Beyond target + this, catching up by faster playback would take too long: seek. */
const JUMP_S = 2;
const TICK_MS = 200;
/** No new frame on the screen for this long is shown to the viewer: it is not network jitter. */
const SILENT_MS = 1500;
/** The relay has received nothing from the encoder for this long: it is the encoder that is silent. */
const IDLE_MS = 1000;
/** What the relay last reported is extrapolated for this long. */
const REPORT_MS = 4000;
/** The relay never holds that much: in FLV, a stream whose clock began after 12 days has times of its own. */
const MAX_MISSING_MS = 600000;
/** The relay receives the encoder but this player sees nothing: reconnect. */
const STUCK_MS = 4000;
/** If this much of the stream has arrived and no frame of it is shown, it is not the network. */
const UNSHOWN_MS = 2000;
/** Connections that end so, in a row, before the stream is called unplayable. */
const UNSHOWN_TRIES = 2;
/** A younger connection may not have received all tracks of the stream yet. */
const TRACKS_MS = 3000;
/** After the connection ended, the time in which the relay reports that the encoder has gone; after it, the relay ended us. */
const SETTLE_MS = 2500;
const RETRY_MS = [0, 500, 1000, 2000, 4000, 8000];
/** Delays before reconnecting when the relay ended the player but not the stream. They grow with each time in a row. */
const ENDED_RETRY_MS = [6000, 15000, 30000, 60000];
/** A connection that lasted this long resets the delays. */
const STABLE_MS = 20000;
/** Spreads reconnects: an encoder that returns with other tracks ends all players of its stream at the same moment. */
const JITTER_MS = 400;

/**
 * `onchange(state)`: connecting | playing | buffering | waiting (for the encoder, as the relay reports) | paused | blocked
 * (autoplay) | closed (by the relay) | failed | unsupported (codecs) | unplayable (it arrives, and no frame is
 * shown) | denied (by
 * the relay: see `denial`) | crowded (other tabs have the connections). Call `update(stream)` regularly with what the relay reports about the stream; the state follows from it.
 */
export class LivePlayer {
  constructor(video, frozen, onchange) {
    Object.assign(this, { video, frozen, onchange, state: null, stream: null, engine: null, paused: false, failures: 0, unshown: 0, endsInARow: 0, nextTry: 0 });
    this.target = TARGET_S;
    this.lastFrame = { time: 0, at: 0 };
    this.turns = new Turns(() => { this.disconnect(); this.setState('crowded'); });
    this.timer = setInterval(() => this.tick(), TICK_MS);
    this.listeners = {
      waiting: () => this.stalled(),
      loadeddata: () => { this.frozen.hidden = true; },
      error: () => this.engine && video.error && this.lose('media'),
    };
    for (const [name, listener] of Object.entries(this.listeners)) video.addEventListener(name, listener);
  }

  destroy() {
    clearInterval(this.timer);
    for (const [name, listener] of Object.entries(this.listeners)) this.video.removeEventListener(name, listener);
    this.disconnect();
    this.turns.close();
    this.onchange = () => {};
    this.isDestroyed = true;
  }

  /** Seconds between the frame on the screen and the newest frame buffered; null while nothing plays. */
  get ahead() {
    const { buffered, currentTime, readyState } = this.video;
    if (!this.engine || readyState < 2 || buffered.length === 0) return null;
    return Math.max(0, buffered.end(buffered.length - 1) - currentTime);
  }

  /** Seconds between the frame on the screen and the newest frame that the relay has; null while nothing plays. */
  get latency() {
    const { ahead, tags, edge } = this;
    if (ahead === null || tags.newest === null || !edge) return ahead;
    const since = edge.isMoving ? Math.min(performance.now() - edge.at, REPORT_MS) : 0;
    // What is still in the relay or on the line.
    const missing = laterBy(edge.timestamp, tags.newest) + since;
    return missing > 0 && missing < MAX_MISSING_MS ? ahead + missing / 1000 : ahead;
  }

  /** `stream`: what the relay reported about it at `at` (of `performance.now()`); null if it does not exist. */
  update(stream, at = performance.now()) { later(() => { if (!this.isDestroyed) this.follow(stream, at); }); }

  follow(stream, at) {
    const now = performance.now();
    const before = this.stream;
    this.stream = stream;
    const timestamp = stream?.newest_timestamp_ms ?? null;
    this.edge = timestamp === null ? null : { timestamp, at, isMoving: stream.idle_ms < IDLE_MS };
    if (this.paused || ['unsupported', 'unplayable', 'denied'].includes(this.state) && stream?.publisher?.id === before?.publisher?.id) return;
    if (!stream?.is_live) {
      this.failures = 0;
      if (!this.engine) this.setState('waiting');
      return;
    }
    if (this.engine) {
      const isLate = this.state === 'connecting' && now - this.joined.at > SILENT_MS;
      if (isLate || this.state === 'waiting' || this.state === 'buffering') this.setState(this.silence());
      const isStuck = now - this.lastFrame.at > STUCK_MS && stream.idle_ms < IDLE_MS;
      if (isStuck && this.state !== 'blocked' && !document.hidden) this.lose('stuck');
      else if (now - this.joined.at > TRACKS_MS && this.lacksTrack(stream)) this.connect();
      return;
    }
    // An encoder that returned with other tracks is another publish: reconnect at once.
    if (this.ended && samePublish(this.ended.stream, stream)) {
      const since = now - this.ended.at;
      if (since < SETTLE_MS) return;
      if (since < ENDED_RETRY_MS[Math.min(this.endsInARow, ENDED_RETRY_MS.length) - 1]) { this.setState('closed'); return; }
    }
    if (now >= this.nextTry && !this.isUnneeded) this.connect();
  }

  async connect() {
    const { stream } = this;
    const can = playable(stream);
    if (can.video === 'no' || (can.video === 'none' && can.audio === 'no')) { this.setState('unsupported'); return; }
    // Just published: the relay may not have seen both tracks yet, so trust the FLV header.
    const known = stream.duration_ms > 3000 || this.failures > 0;
    if (known && can.video === 'none' && can.audio === 'none') { this.lose('empty'); return; }
    const tracks = {};
    if (known || can.audio === 'no') tracks.hasAudio = can.audio === 'yes';
    if (known) tracks.hasVideo = can.video === 'yes';
    if (LivePlayer.websocket || this.turns.isTaken) { this.open(stream, tracks); return; }
    if (this.isAsking) return;
    this.isAsking = true;
    const isTaken = await this.turns.take();
    this.isAsking = false;
    if (this.isDestroyed || this.paused || this.stream !== stream) this.turns.leave();
    else if (isTaken) this.open(stream, tracks);
    else this.setState('crowded');
  }

  open(stream, tracks) {
    this.ended = null;
    this.setState('connecting');
    this.disconnect();
    const { Events, ErrorTypes } = mpegts;
    const tags = new TagFilter();
    const engine = mpegts.createPlayer(
      { type: 'flv', isLive: true, url: flv(stream.name, { websocket: LivePlayer.websocket, query: credentials() }), ...tracks },
      { customLoader: liveLoader(tags), enableStashBuffer: false, lazyLoad: false, autoCleanupSourceBuffer: true, autoCleanupMaxBackwardDuration: 20, autoCleanupMinBackwardDuration: 8 },
    );
    const ifCurrent = (listener) => (...details) => later(() => { if (this.engine === engine) listener(...details); });
    engine.on(Events.MEDIA_INFO, ifCurrent((info) => { this.mediaInfo = info; LivePlayer.isProven = true; }));
    engine.on(Events.LOADING_COMPLETE, ifCurrent(() => this.lose('ended')));
    engine.on(Events.ERROR, ifCurrent((type, detail, info) => {
      if ([401, 403].includes(info?.code)) this.deny(info.code, info.msg);
      else this.lose(type === ErrorTypes.MEDIA_ERROR ? 'media' : 'error');
    }));
    Object.assign(this, { engine, tags, mediaInfo: null, jumped: false, joined: { stream, at: performance.now(), isShown: false } });
    this.lastFrame = { time: 0, at: performance.now() };
    engine.attachMediaElement(this.video);
    engine.load();
    this.play();
  }

  async play() {
    const engine = this.engine;
    try {
      await this.video.play();
    } catch (error) {
      // AbortError: the source was removed before playback started. Only NotAllowedError needs the user.
      if (error.name !== 'NotAllowedError' || this.engine !== engine) return;
      if (this.video.muted) { this.setState('blocked'); return; }
      // Browsers start a video with audio only after the user has clicked on the page.
      this.video.muted = true;
      this.play();
    }
  }

  /** Whether an audio or video track appeared after this connection began: a browser cannot add one later. */
  lacksTrack(stream) {
    const can = playable(stream);
    return this.mediaInfo && (can.audio === 'yes' && this.mediaInfo.hasAudio === false || can.video === 'yes' && this.mediaInfo.hasVideo === false);
  }

  /** The connection is lost or useless: `ended`, `stuck`, `media` (not decoded), `error`, `empty`. The next `update` decides what to do. */
  lose(why) {
    const { mediaInfo, joined, tags } = this;
    const now = performance.now();
    const hasArrived = this.engine && (why === 'media' ? tags.first !== null : tags.duration >= UNSHOWN_MS);
    this.unshown = hasArrived && !joined.isShown ? this.unshown + 1 : 0;
    this.disconnect();
    this.turns.leave();
    if (this.unshown >= UNSHOWN_TRIES) { this.setState('unplayable'); return; }
    if (mediaInfo && why === 'ended') {
      this.ended = { stream: joined.stream, at: now };
      this.endsInARow = now - joined.at > STABLE_MS ? 1 : this.endsInARow + 1;
      this.failures = 0;
    } else {
      this.failures += 1;
      // Perhaps a proxy does not pass WebSocket, or buffers bodies: try the other transport.
      if (!mediaInfo && !LivePlayer.isProven) LivePlayer.websocket = !LivePlayer.websocket;
    }
    this.nextTry = now + RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)] + Math.random() * JITTER_MS;
    // Whether the encoder ended it, the next report says.
    this.setState(this.failures > 3 ? 'failed' : why === 'ended' || !joined?.isShown ? 'connecting' : this.silence());
  }

  /** The relay denies access, or it has ended: until the viewer asks again, or another publish begins. */
  deny(status, reason) {
    // The transport works.
    LivePlayer.isProven = true;
    this.denial = { status, reason, wasShown: this.joined.isShown };
    this.disconnect();
    this.turns.leave();
    this.setState('denied');
  }

  disconnect() {
    if (!this.engine) return;
    this.freeze();
    const engine = this.engine;
    this.engine = null;
    engine.destroy();
  }

  /** Keeps the last frame on the screen. */
  freeze() {
    const { videoWidth, videoHeight, readyState } = this.video;
    if (readyState < 2 || videoWidth === 0) return;
    Object.assign(this.frozen, { width: videoWidth, height: videoHeight, hidden: false });
    this.frozen.getContext('2d').drawImage(this.video, 0, 0);
  }

  pause() {
    this.paused = true;
    // A paused player is disconnected: resuming continues live, so buffered data would be discarded anyway.
    this.disconnect();
    this.turns.leave();
    this.setState('paused');
  }

  resume() {
    Object.assign(this, { paused: false, ended: null, nextTry: 0, failures: 0, unshown: 0, endsInARow: 0 });
    if (this.engine) this.play();
    else if (this.stream?.is_live) {
      // If this attempt comes to nothing, the next report makes another one.
      this.setState('connecting');
      this.connect();
    } else this.setState('waiting');
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
    // Only network stalls count: not the start, and not an encoder that stopped.
    if (this.state !== 'playing' || performance.now() - this.jumpedAt < 1000) return;
    this.target = Math.min(TARGET_MAX_S, this.target * 1.3);
  }

  tick() {
    if (!this.engine || this.paused) return;
    if (this.isUnneeded) { this.disconnect(); this.turns.leave(); return; }
    const { video } = this;
    const now = performance.now();
    if (video.currentTime !== this.lastFrame.time && video.readyState >= 2) {
      this.lastFrame = { time: video.currentTime, at: now };
      this.joined.isShown = true;
      if (!video.paused) { this.failures = 0; this.setState('playing'); }
    } else if (now - this.lastFrame.at > SILENT_MS && this.state === 'playing') {
      this.setState(this.silence());
    }
    // The browser may have paused the video of a background tab.
    if (video.paused && this.state !== 'blocked' && video.readyState >= 2) this.play();
    this.chase(now);
  }

  chase(now) {
    const { video, ahead } = this;
    if (ahead === null || video.seeking) return;
    const { buffered, currentTime } = video;
    const inside = currentTime >= buffered.start(buffered.length - 1) - 0.05;
    const far = ahead > this.target + (this.jumped ? JUMP_S : 0.6);
    if (!inside || far) {
      this.jumped = true;
      this.jumpedAt = now;
      this.jump();
    } else if (ahead > this.target + 0.25) {
      video.playbackRate = ahead > this.target + 0.8 ? 1.2 : 1.08;
    } else if (ahead <= this.target) {
      video.playbackRate = 1;
    }
  }

  /** In the background, without audio, an HTTP body is not worth one of the browser's six connections to the relay. */
  get isUnneeded() { return document.hidden && this.video.muted && !LivePlayer.websocket; }

  /** Why nothing new is shown. The encoder is to blame only if the relay says so. */
  silence() {
    const { stream } = this;
    return !stream?.is_live || stream.idle_ms >= IDLE_MS ? 'waiting' : 'buffering';
  }

  setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.onchange(state);
  }
}

/** Whether to use WebSocket, and whether the transport in use has worked in this tab: then it is not to blame for failures. */
Object.assign(LivePlayer, { websocket: true, isProven: false });

/** In a separate task: mpegts.js must not be destroyed while it is dispatching events. */
const later = (task) => { setTimeout(task); };

const samePublish = (before, now) => before?.publisher?.id === now.publisher?.id && before?.duration_ms <= now.duration_ms;
