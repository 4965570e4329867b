// A plot of the last minutes: lines over time in an SVG, a cross-hair, a scale that ends on a round number.
import { attribute, h, svg, text } from './dom.js';
import { duration } from './format.js';

const HEIGHT = 132;
const TOP = 10;
const BOTTOM = 20;
/** Width of the scale, to the right of the newest sample. */
const RIGHT = 66;

/** `series`: [{name, key, kind: 'area' | 'line'}]; `format(value)`; samples: [{uptime_ms, [key]: number}], oldest first. */
export class Plot {
  constructor({ title, series, format, minTop }) {
    Object.assign(this, { series, format, minTop, samples: [], width: 600 });
    this.now = h('span.now');
    this.chart = svg('svg', { role: 'img', height: HEIGHT });
    this.grid = svg('g.grid');
    this.areas = series.map(({ kind }, at) => (kind === 'area' ? svg(`path.area.series-${at}`) : null));
    this.lines = series.map((_, at) => svg(`path.series-${at}`));
    this.hair = svg('line.hair', { y1: TOP, y2: HEIGHT - BOTTOM, visibility: 'hidden' });
    this.labels = svg('g.labels');
    this.chart.append(this.grid, ...this.areas.filter(Boolean), ...this.lines, this.hair, this.labels);
    this.legend = series.map(({ name }, at) => ({ value: h('b'), element: null, name, at }));
    for (const entry of this.legend) entry.element = h(`span.key.series-${entry.at}`, {}, h('i'), series.length > 1 ? `${entry.name} ` : '', entry.value);
    this.element = h('figure.plot', {}, h('figcaption', {}, h('span.title', {}, title), ...this.legend.map(({ element }) => element), this.now), this.chart);
    this.title = title;
    this.size = new ResizeObserver(([{ contentRect }]) => { this.width = Math.max(200, contentRect.width); this.draw(); });
    this.size.observe(this.chart.parentElement);
    this.chart.addEventListener('pointermove', (event) => this.point(event));
    this.chart.addEventListener('pointerleave', () => this.point(null));
  }

  show(samples) { this.samples = samples; this.draw(); }

  draw() {
    const { samples, series, width, chart } = this;
    attribute(chart, 'viewBox', `0 0 ${width} ${HEIGHT}`);
    attribute(chart, 'width', width);
    const values = samples.flatMap((sample) => series.map(({ key }) => sample[key] ?? 0));
    const top = roundUp(Math.max(this.minTop, ...values));
    const last = samples.at(-1)?.uptime_ms ?? 0;
    const span = Math.max(60000, last - (samples[0]?.uptime_ms ?? 0));
    const right = width - RIGHT;
    this.x = (uptime_ms) => right - ((last - uptime_ms) / span) * right;
    const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);

    const steps = [0, 0.5, 1].map((share) => share * top);
    this.grid.replaceChildren(...steps.map((value) => svg('line', { x1: 0, x2: right, y1: y(value), y2: y(value) })));
    const minutes = span / 60000;
    const step = minutes > 10 ? 5 : minutes > 4 ? 2 : 1;
    const times = [];
    for (let at = step; at < minutes - 0.3; at += step) times.push(at);
    this.labels.replaceChildren(
      ...steps.map((value) => svg('text', { x: width, y: y(value) + 4, 'text-anchor': 'end' }, this.format(value).replace(/\.0+(?= )/, ''))),
      ...times.map((at) => svg('text', { x: this.x(last - at * 60000), y: HEIGHT - 5, 'text-anchor': 'middle' }, `−${at} min`)),
      svg('text', { x: right, y: HEIGHT - 5, 'text-anchor': 'end' }, 'now'),
    );
    series.forEach(({ key }, at) => {
      const points = samples.map((sample) => `${this.x(sample.uptime_ms).toFixed(1)} ${y(sample[key] ?? 0).toFixed(1)}`);
      const line = points.length > 0 ? `M${points.join('L')}` : '';
      attribute(this.lines[at], 'd', line);
      if (this.areas[at]) attribute(this.areas[at], 'd', line && `${line}V${y(0)}H${this.x(samples[0].uptime_ms).toFixed(1)}Z`);
    });
    const latest = samples.at(-1);
    if (!this.isPointed) this.write(latest, '');
    attribute(chart, 'aria-label', latest
      ? `${this.title} over ${duration(span)}: ${series.map(({ name, key }) => `${name} ${this.format(latest[key])} now, maximum ${this.format(Math.max(...samples.map((sample) => sample[key] ?? 0)))}`).join('; ')}`
      : `${this.title}: no data yet`);
  }

  point(event) {
    this.isPointed = event !== null && this.samples.length > 0;
    attribute(this.hair, 'visibility', this.isPointed ? 'visible' : 'hidden');
    if (!this.isPointed) { this.write(this.samples.at(-1), ''); return; }
    const at = event.clientX - this.chart.getBoundingClientRect().left;
    const nearest = this.samples.reduce((best, sample) => (Math.abs(this.x(sample.uptime_ms) - at) < Math.abs(this.x(best.uptime_ms) - at) ? sample : best));
    const x = this.x(nearest.uptime_ms);
    attribute(this.hair, 'x1', x);
    attribute(this.hair, 'x2', x);
    this.write(nearest, `${duration(this.samples.at(-1).uptime_ms - nearest.uptime_ms)} ago`);
  }

  write(sample, when) {
    for (const { value, at } of this.legend) text(value, sample ? this.format(sample[this.series[at].key]) : '–');
    text(this.now, when);
  }

  close() { this.size.disconnect(); }
}

/** A round number whose half is round as well: 1, 2, 4, 5, 6 or 8 times a power of ten. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 6, 8, 10].map((factor) => factor * power).find((round) => round >= value * 0.999);
}
