// Audio of the player: whether it is on, which the browser remembers, and the level of a stream without video.
import { h } from './dom.js';

const KEY = 'fanfare.audio';
const VOLUME_KEY = 'fanfare.volume';
/** Levels below this are shown as silence, dBFS. */
const FLOOR_DB = -60;
const LEVEL_MS = 60;

const stored = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
const store = (key, value) => { try { localStorage.setItem(key, value); } catch { /* forgotten with the page */ } };

/** Audio is on unless the user has turned it off; the browser allows it only after a click on the page. */
export class AudioChoice {
  constructor(video) {
    this.video = video;
    this.isWanted = stored(KEY) !== 'off';
    const volume = Number(stored(VOLUME_KEY) ?? 1);
    video.volume = volume > 0 && volume <= 1 ? volume : 1;
    // Without a click, only a user who has turned audio on before is worth the attempt.
    video.muted = !this.isWanted || !(navigator.userActivation?.hasBeenActive || stored(KEY) === 'on');
  }

  /** The user turns it on or off. */
  set(isOn) {
    this.isWanted = isOn;
    store(KEY, isOn ? 'on' : 'off');
    this.video.muted = !isOn;
    if (isOn && this.video.volume === 0) this.video.volume = 1;
  }

  setVolume(volume) {
    this.video.volume = volume;
    if (volume > 0) store(VOLUME_KEY, volume);
    this.set(volume > 0);
  }
}

/** A bar with the level of what is heard. */
export class AudioLevel {
  constructor(video) {
    this.video = video;
    this.filled = h('i');
    this.element = h('div.level', { role: 'meter', 'aria-label': 'Audio level', 'aria-valuemin': FLOOR_DB, 'aria-valuemax': 0, 'aria-valuenow': FLOOR_DB }, this.filled);
  }

  async show(isOn) {
    clearInterval(this.timer);
    this.element.hidden = !isOn;
    if (!isOn) return;
    this.timer = setInterval(() => this.measure(), LEVEL_MS);
    if (this.analyser) return;
    const context = this.context ??= new AudioContext();
    // Through a context that does not run, nothing would be heard. It runs after a click; until then, each call tries again.
    await context.resume().catch(() => {});
    if (context.state !== 'running' || this.isClosed || this.analyser) return;
    this.analyser = context.createAnalyser();
    const source = context.createMediaElementSource(this.video);
    source.connect(this.analyser);
    source.connect(context.destination);
    this.samples = new Float32Array(this.analyser.fftSize);
    context.onstatechange = () => { if (context.state === 'suspended') context.resume(); };
  }

  measure() {
    if (!this.analyser) return;
    this.analyser.getFloatTimeDomainData(this.samples);
    const power = this.samples.reduce((sum, sample) => sum + sample * sample, 0) / this.samples.length;
    const db = Math.max(FLOOR_DB, Math.min(0, 10 * Math.log10(power || 1e-9)));
    this.filled.style.width = `${100 * (1 - db / FLOOR_DB)}%`;
    this.element.setAttribute('aria-valuenow', Math.round(db));
  }

  close() {
    this.isClosed = true;
    clearInterval(this.timer);
    this.context?.close();
  }
}
