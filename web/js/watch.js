// The view of one stream: the player, facts about the stream, and its addresses.
import { api } from './api.js';
import { credentials, encryptedFlv, flv, isLoopback, page, rtmp, rtmps, shell, withQuery } from './addresses.js';
import { canPlayAnything, elsewhere, obstacle, playable } from './codecs.js';
import { copyLine } from './copy.js';
import { Keyed, announce, attribute, h, svg, text } from './dom.js';
import { audioText, duration, number, plural, rate, splitName, tracks, videoText } from './format.js';
import { AudioChoice, AudioLevel } from './audio.js';
import { LivePlayer } from './player.js';
import { qr } from './qr.js';
import { MAX_BODIES } from './turns.js';

const ICONS = {
  play: 'M7 4.5v15l12.5-7.5z',
  pause: 'M6.5 4.5h4v15h-4zM13.5 4.5h4v15h-4z',
  muted: 'M4 9v6h4l5 4.5v-15L8 9zM16 9.2l5.2 5.6M21.2 9.2 16 14.8',
  loud: 'M4 9v6h4l5 4.5v-15L8 9zM16 8.6a5 5 0 0 1 0 6.8M18.6 6a8.6 8.6 0 0 1 0 12',
  full: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5',
};

/** The button over the video, by state. */
const AGAIN = { closed: 'Watch again', blocked: 'Play', paused: 'Play', unplayable: 'Try again', denied: 'Try again' };

export class WatchView {
  intervalMs = 1000;

  constructor(name, known = null) {
    this.name = name;
    this.title = name;
    const [app, rest] = splitName(name);
    this.video = h('video', { playsinline: true, 'aria-label': `${name}, live`, tabindex: '-1' });
    this.audio = new AudioChoice(this.video);
    this.frozen = h('canvas', { hidden: true, 'aria-hidden': 'true' });
    this.message = h('p.message', { role: 'status', 'aria-live': 'polite' });
    this.hint = h('p.hint');
    this.again = h('button.primary', { type: 'button', hidden: true, onclick: () => this.player?.resume() }, 'Watch again');
    this.veil = h('div.veil', {}, this.message, this.hint, this.again);

    this.pauseButton = control('pause', 'Pause', () => this.togglePause());
    this.muteButton = control('muted', 'Unmute', () => this.toggleMute());
    this.volume = h('input.volume', { type: 'range', min: '0', max: '1', step: '0.05', value: '1', 'aria-label': 'Volume', oninput: () => this.audio.setVolume(Number(this.volume.value)) });
    this.unmute = h('button.unmute', { type: 'button', hidden: true, onclick: () => this.toggleMute() }, 'Turn audio on');
    this.level = new AudioLevel(this.video);
    this.audioOnly = h('div.audio-only', { hidden: true }, h('p', {}, 'Audio only'), this.level.element);
    this.live = h('button.live', { type: 'button', title: 'Delay behind the newest frame at the relay. Click to catch up.', onclick: () => this.player?.jump() },
      h('span.dot', { 'aria-hidden': 'true' }), h('span.word', {}, 'Live'), this.latency = h('span.latency', {}, ''));
    this.fullButton = control('full', 'Full screen', () => this.toggleFull());
    this.fullButton.element.hidden = !document.fullscreenEnabled && !this.video.webkitEnterFullscreen;
    this.controls = h('div.controls', { role: 'group', 'aria-label': 'Player' },
      this.pauseButton.element, this.muteButton.element, this.volume, this.live, h('span.grow'), this.fullButton.element);
    this.stage = h('div.stage', {}, this.video, this.frozen, this.audioOnly, this.unmute, this.veil, this.controls);
    this.audioNote = h('p.note', { hidden: true });
    this.tracksNote = h('p.note', { hidden: true });

    this.facts = h('dl.facts');
    this.factRows = new Keyed(this.facts, ([label]) => label, ([label]) => {
      const value = h('dd');
      return { element: h('div', {}, h('dt', {}, label), value), update: ([, next]) => text(value, next) };
    });
    this.rtmpsLine = copyLine('RTMPS', '');
    this.rtmpsLine.element.hidden = true;
    this.rtmpLine = copyLine('RTMP', '');
    this.flvLine = copyLine('HTTP-FLV', '');
    this.vlcLine = copyLine('VLC', '');
    this.ffplayLine = copyLine('ffplay', '');
    // A copied address may be passed on: it has what this page was opened with only if the viewer wants that.
    this.withKey = h('input', { type: 'checkbox', onchange: () => this.showAddresses() });
    this.keyChoice = h('label.small.with-key', { hidden: credentials() === '' }, this.withKey, ' With my link or key');
    this.code = h('div.code');
    this.element = h('div.watch', {},
      h('header.lead-in', {}, h('a.back', { href: '#/', 'aria-label': 'Back to all streams' }, '←'),
        h('h1', {}, app && h('span.app', {}, `${app}/`), h('span.name', {}, rest))),
      h('div.columns', {},
        h('div.left', {}, this.stage, this.audioNote, this.tracksNote, this.facts),
        h('aside', { 'aria-label': 'Addresses' },
          h('h2', {}, 'Watch elsewhere'), this.rtmpsLine.element, this.rtmpLine.element, this.flvLine.element, this.vlcLine.element, this.ffplayLine.element, this.keyChoice,
          h('div.phone', {}, this.code,
            h('div', {}, h('h2', {}, 'On a phone'), h('p.small', {}, isLoopback()
              ? 'A phone cannot open “localhost”. Open this page at this machine’s network address to get a code that works.'
              : 'Scan this code to open this page.'))),
          h('p.small.keys', {}, ...keys('Space', 'pause', 'M', 'mute', 'F', 'full screen', 'Esc', 'back')))));

    this.onkey = (event) => this.key(event);
    this.onvolume = () => this.showVolume();
    this.onfull = () => this.fullButton.show('full', document.fullscreenElement ? 'Exit full screen' : 'Full screen');
    document.addEventListener('keydown', this.onkey);
    document.addEventListener('fullscreenchange', this.onfull);
    this.video.addEventListener('volumechange', this.onvolume);
    this.video.addEventListener('click', () => this.click());
    this.video.addEventListener('dblclick', () => this.toggleFull());
    this.stage.addEventListener('pointermove', () => this.wake());
    this.latencyTimer = setInterval(() => this.showLatency(), 250);
    if (canPlayAnything()) this.player = new LivePlayer(this.video, this.frozen, (state) => this.show(state));
    this.stream = known;
    this.showAddresses();
    this.show(this.player ? 'connecting' : 'no-mse');
    if (known) this.player?.update(known);
    this.showVolume();
    this.wake();
  }

  async refresh(summary, signal) {
    const asked = performance.now();
    const stream = await api.stream(this.name, signal);
    this.stream = stream;
    // On a slow line the response is older than it looks: as a rule it was made halfway.
    this.player?.update(stream, (asked + performance.now()) / 2);
    this.summary = summary;
    this.showAddresses();
    this.showElsewhere();
    this.showAudioOnly();
    const several = tracks(stream);
    this.tracksNote.hidden = !several;
    if (several) text(this.tracksNote, `This stream has ${several}. This page plays at most one of each; a player with multitrack support can choose.`);
    this.factRows.show([
      ['Tracks', several],
      ['Video', videoText(stream?.video)],
      ['Audio', audioText(stream?.audio)],
      ['Bitrate', stream?.is_live ? rate(stream.received_kbps) : null],
      ['Key frames', stream?.video?.key_frame_interval_ms ? `every ${Number((stream.video.key_frame_interval_ms / 1000).toFixed(1))} s` : null],
      ['Players', stream ? `${plural(stream.players.total, 'player')}, ${rate(stream.sent_kbps)}` : null],
      ['Skips', stream?.skips ? number(stream.skips) : null],
      ['Live for', stream?.is_live ? duration(stream.duration_ms) : null],
      ['Encoder', stream?.encoder],
    ].filter(([, value]) => value));
    // The reason may change while the state does not, as when the codec becomes known.
    this.show(this.player?.state ?? this.shown);
  }

  /** Encrypted addresses first, where they exist. */
  showAddresses() {
    const query = this.withKey.checked ? credentials() : '';
    const link = page(this.name, query);
    if (this.shownLink !== link) this.code.replaceChildren(qr(link, `QR code: ${link}`));
    this.shownLink = link;
    const [plain, encrypted, https] = [rtmp, rtmps, encryptedFlv].map((of) => withQuery(of(this.name, this.summary), query));
    this.flvLine.update(https ?? withQuery(flv(this.name), query));
    if (!this.summary) return;
    this.rtmpsLine.element.hidden = encrypted === null;
    if (encrypted) this.rtmpsLine.update(encrypted);
    this.rtmpLine.update(plain);
    // Elements are moved once: moving one loses a selection in it.
    if (https && this.flvLine.element.nextSibling !== this.rtmpLine.element) this.rtmpLine.element.before(this.flvLine.element);
    // VLC does not speak RTMPS.
    this.vlcLine.update(`vlc ${shell(https ?? plain)}`);
    this.ffplayLine.update(`ffplay -fflags nobuffer ${shell(encrypted ?? plain)}`);
  }

  show(state) {
    if (state === null) return;
    const { stream } = this;
    const several = tracks(stream);
    const { hint: others } = elsewhere(stream);
    const hindered = stream && (stream.video ? obstacle('video', stream.video) : stream.audio && obstacle('audio', stream.audio));
    const [message, hint] = {
      connecting: ['', ''],
      playing: ['', ''],
      buffering: ['Buffering…', 'The relay receives the stream, but it does not arrive here in time.'],
      waiting: stream ? ['Waiting for the encoder', 'Playback resumes when it reconnects.']
        : ['Not live', 'No encoder publishes this stream. Playback starts when one does.'],
      paused: ['Paused', ''],
      blocked: ['Autoplay is blocked by this browser', ''],
      closed: ['The relay ended this connection', 'The stream is still live. Reconnecting in a moment.'],
      crowded: ['Too many tabs play at once', `WebSocket does not work here, so this browser can play only ${MAX_BODIES} streams of this site at a time. Playback starts when another tab is closed or hidden.`],
      failed: ['Playback failed', `Retrying. ${others}`],
      unsupported: [hindered ?? 'This page cannot play this stream', several ? `The stream has ${several}. ${others}` : others],
      unplayable: ['This browser shows no frame of this stream', `The stream arrives, but it cannot be decoded here. ${others}`],
      denied: this.denialText(),
      'no-mse': ['This browser cannot play live streams', `It has no Media Source Extensions. ${others}`],
    }[state];
    text(this.message, message);
    text(this.hint, hint);
    this.again.hidden = !(state in AGAIN);
    text(this.again, AGAIN[state]);
    this.veil.hidden = message === '';
    this.stage.dataset.state = state;
    this.pauseButton.show(state === 'paused' ? 'play' : 'pause', state === 'paused' ? 'Play' : 'Pause');
    if (state !== this.shown) this.wake();
    this.shown = state;
    this.showUnmute();
    this.showLatency();
  }

  /** What the relay says, and what that means for a viewer. */
  denialText() {
    const { status, reason, wasShown } = this.player?.denial ?? {};
    const says = reason ? `The relay says: ${reason}.` : '';
    if (status === 403) return ['You may not watch this stream', says];
    if (wasShown) return ['Your time to watch this stream is over', `${says} With a new link it goes on.`.trim()];
    return [credentials() ? 'Your link or key does not open this stream' : 'You need a link or a key to watch this stream', says];
  }

  showLatency() {
    const latency = this.player?.state === 'playing' ? this.player.latency : null;
    text(this.latency, latency === null ? '' : `${latency.toFixed(1)} s behind`);
    this.live.hidden = latency === null;
  }

  /** Other players: those that can play what this stream has now. */
  showElsewhere() {
    const { stream } = this;
    const { ffmpeg, hint } = elsewhere(stream);
    this.vlcLine.element.hidden = ffmpeg !== null;
    this.ffplayLine.element.hidden = ffmpeg === null;
    const can = stream?.is_live ? playable(stream) : {};
    this.audioNote.hidden = !(this.player && can.audio === 'no' && can.video === 'yes');
    if (!this.audioNote.hidden) text(this.audioNote, `${obstacle('audio', stream.audio)}: the video plays without audio. ${hint}`);
  }

  showAudioOnly() {
    const { is_live: isLive, video, audio } = this.stream ?? {};
    const isAudioOnly = Boolean(isLive && audio && !video);
    this.audioOnly.hidden = !isAudioOnly;
    this.stage.classList.toggle('without-video', isAudioOnly);
    this.muteButton.element.hidden = this.volume.hidden = Boolean(isLive && video && playable(this.stream).audio !== 'yes');
    this.level.show(isAudioOnly && !this.video.muted);
  }

  showVolume() {
    const { muted, volume } = this.video;
    this.showUnmute();
    this.showAudioOnly();
    this.muteButton.show(muted ? 'muted' : 'loud', muted ? 'Unmute' : 'Mute');
    this.volume.value = muted ? 0 : volume;
  }

  /** It is the browser that keeps the audio off, not the user: any click turns it on, also while the player waits for media. */
  get isAudioWithheld() {
    return this.video.muted && this.audio.isWanted && this.stream && playable(this.stream).audio === 'yes';
  }

  showUnmute() {
    this.unmute.hidden = !(this.isAudioWithheld && this.player?.state === 'playing');
  }

  click() {
    if (this.player?.state === 'blocked') this.player.resume();
    else if (this.isAudioWithheld) this.toggleMute();
    else this.wake();
  }

  toggleMute() {
    this.audio.set(this.video.muted);
    announce(this.video.muted ? 'Muted' : 'Unmuted');
  }

  togglePause() {
    if (this.player?.paused || this.player?.state === 'blocked') this.player.resume();
    else this.player?.pause();
  }

  toggleFull() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (document.fullscreenEnabled) this.stage.requestFullscreen().catch(() => {});
    // iPhones allow full screen only for the video element.
    else this.video.webkitEnterFullscreen?.();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
    const on = event.target;
    if (event.key === 'Escape') { if (!document.fullscreenElement) location.hash = '#/'; return; }
    // Buttons and links handle the space bar themselves; the slider uses none of these keys.
    const isHandled = on.closest?.('button, a, input:not([type=range]), select, textarea');
    if (event.key === ' ' && !isHandled) this.togglePause();
    else if (event.key === 'k' && !on.closest?.('input:not([type=range])')) this.togglePause();
    else if (event.key === 'm') this.toggleMute();
    else if (event.key === 'f') this.toggleFull();
    else { this.wake(); return; }
    this.wake();
    event.preventDefault();
  }

  /** Shows the controls; they fade while the video plays and the pointer rests. */
  wake() {
    this.stage.classList.remove('idle');
    clearTimeout(this.sleep);
    this.sleep = setTimeout(() => this.stage.classList.toggle('idle', this.player?.state === 'playing' && this.audioOnly.hidden), 2600);
  }

  close() {
    clearInterval(this.latencyTimer);
    clearTimeout(this.sleep);
    document.removeEventListener('keydown', this.onkey);
    document.removeEventListener('fullscreenchange', this.onfull);
    this.player?.destroy();
    this.level.close();
    if (document.fullscreenElement) document.exitFullscreen();
  }
}

function control(icon, label, onclick) {
  const shape = svg('path', { d: ICONS[icon] });
  const element = h('button.control', { type: 'button', 'aria-label': label, title: label, onclick },
    svg('svg', { viewBox: '0 0 24 24', width: 22, height: 22, 'aria-hidden': 'true' }, shape));
  return {
    element,
    show: (next, name) => {
      attribute(shape, 'd', ICONS[next]);
      attribute(element, 'aria-label', name);
      attribute(element, 'title', name);
    },
  };
}

const keys = (...pairs) => pairs.map((word, at) => (at % 2 === 0 ? h('kbd', {}, word) : ` ${word}  `));
