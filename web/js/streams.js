// The first view: live streams with stills, streams that players wait for, or instructions for publishing.
import { canPlayAnything } from './codecs.js';
import { copyLine } from './copy.js';
import { Keyed, h, text } from './dom.js';
import { audioText, byName, duration, isSilent, number, plural, rate, splitName, videoText } from './format.js';
import { api } from './api.js';
import { rtmp, rtmps, watchLink } from './addresses.js';
import { Stills } from './still.js';

/** Cards at first, and more for each click: hundreds at once are slow, and no one looks at them all. */
const CARDS = 60;
/** As many streams are found without search. */
const FEW = 8;
const SORTS = {
  name: ['Name', () => 0],
  players: ['Most players', (a, b) => b.players.total - a.players.total],
  bitrate: ['Highest bitrate', (a, b) => b.received_kbps - a.received_kbps],
  newest: ['Newest', (a, b) => (a.duration_ms ?? 0) - (b.duration_ms ?? 0)],
  silent: ['Longest without data', (a, b) => (b.idle_ms ?? 0) - (a.idle_ms ?? 0)],
};
/** What the user chose, for the way back from a stream. */
const chosen = { search: '', sort: 'name', app: '' };

export class StreamsView {
  title = 'Streams';
  intervalMs = 2000;

  constructor() {
    this.stills = new Stills();
    this.heading = h('h1', {}, 'Streams');
    this.subheading = h('p.lead');
    this.limit = CARDS;
    this.search = h('input', { type: 'search', 'aria-label': 'Search streams', placeholder: 'Search', value: chosen.search, spellcheck: 'false', oninput: () => this.choose({ search: this.search.value }) });
    this.app = h('select', { 'aria-label': 'App', onchange: () => this.choose({ app: this.app.value }) });
    this.sort = h('select', { 'aria-label': 'Order', onchange: () => this.choose({ sort: this.sort.value }) },
      ...Object.entries(SORTS).map(([value, [label]]) => h('option', { value, selected: value === chosen.sort }, label)));
    this.found = h('span.small', { role: 'status' });
    this.tools = h('div.tools', { hidden: true, role: 'search' }, this.search, this.app, this.sort, this.found);
    this.more = h('button.quiet', { type: 'button', hidden: true, onclick: () => { this.limit += CARDS; this.show(); } });
    this.grid = h('ul.cards', { role: 'list' });
    this.cards = new Keyed(this.grid, (stream) => stream.name, (stream) => this.card(stream));
    this.waitingList = h('ul.waiting', { role: 'list' });
    this.waiting = new Keyed(this.waitingList, (stream) => stream.name, waitingRow);
    this.waitingPart = h('section', { hidden: true, 'aria-labelledby': 'waiting' },
      h('h2', { id: 'waiting' }, 'Waiting for an encoder'), h('p.small', {}, 'No encoder is publishing these streams. Playback starts when one does.'), this.waitingList);
    this.begin = h('div', { hidden: true });
    this.note = h('p.note', { hidden: canPlayAnything() },
      'This browser has no Media Source Extensions, so it cannot play streams. Other players can: each stream’s page has its addresses.');
    this.element = h('div.streams', {}, h('header.lead-in', {}, this.heading, this.subheading), this.note, this.tools, this.grid, h('div.more', {}, this.more), this.waitingPart, this.begin);
  }

  async refresh(summary, signal) {
    const streams = await api.streams(signal);
    this.streams = streams.sort((a, b) => byName(a.name, b.name));
    const live = streams.filter((stream) => stream.is_live);
    text(this.heading, live.length === 0 ? 'Nothing is live' : `${number(live.length)} live`);
    text(this.subheading, live.length === 0 ? 'The relay is running and waiting for an encoder.'
      : `${plural(summary.players.total, 'player')} · ${rate(summary.sent_kbps)} out`);
    this.showApps();
    this.show();
    this.showBegin(live.length === 0, summary);
  }

  choose(choice) {
    Object.assign(chosen, choice);
    this.limit = CARDS;
    this.show();
  }

  show() {
    const { streams = [] } = this;
    const words = chosen.search.toLowerCase().split(/\s+/);
    const matches = ({ name }) => (!chosen.app || splitName(name)[0] === chosen.app) && words.every((word) => name.toLowerCase().includes(word));
    const isChosen = Boolean(chosen.search.trim() || chosen.app);
    const found = streams.filter(matches);
    // A stable sort: equal ones stay ordered by name.
    const live = found.filter((stream) => stream.is_live).sort(SORTS[chosen.sort][1]);
    const waiting = found.filter((stream) => !stream.is_live);
    this.tools.hidden = streams.length <= FEW && !isChosen;
    text(this.found, isChosen ? (found.length === 0 ? 'No stream matches' : `${number(found.length)} of ${number(streams.length)}`) : '');
    this.grid.hidden = live.length === 0;
    this.grid.classList.toggle('few', live.length <= 2 && !isChosen);
    this.grid.classList.toggle('some', live.length > 2 && live.length <= FEW && !isChosen);
    this.cards.show(live.slice(0, this.limit));
    this.more.hidden = live.length <= this.limit;
    text(this.more, `Show ${number(Math.min(CARDS, live.length - this.limit))} more of ${number(live.length)}`);
    this.waitingPart.hidden = waiting.length === 0;
    this.waiting.show(waiting.slice(0, this.limit));
  }

  showApps() {
    const apps = [...new Set(this.streams.map(({ name }) => splitName(name)[0]))];
    if (chosen.app && !apps.includes(chosen.app)) apps.push(chosen.app);
    this.app.hidden = apps.length < 2;
    if (this.apps === apps.join('\n')) return;
    this.apps = apps.join('\n');
    this.app.replaceChildren(h('option', { value: '' }, 'All apps'), ...apps.map((app) => h('option', { value: app }, app)));
    this.app.value = chosen.app;
  }

  showBegin(isEmpty, summary) {
    this.begin.hidden = !isEmpty;
    if (!isEmpty || this.begin.childElementCount > 0) return;
    const address = rtmps('live/live_stream', summary) ?? rtmp('live/live_stream', summary);
    this.begin.append(h('section.begin', {},
      h('div', {}, h('h2', {}, 'FFmpeg'),
        copyLine('A test pattern with a tone', `ffmpeg -re -f lavfi -i testsrc2 -f lavfi -i sine -c:v libx264 -pix_fmt yuv420p -g 50 -c:a aac -f flv ${address}`).element,
        copyLine('Or a file of yours, again and again', `ffmpeg -re -stream_loop -1 -i FILE -c copy -f flv ${address}`).element),
      h('div', {}, h('h2', {}, 'OBS'),
        copyLine('Settings → Stream, Service “Custom…”, Server', address.slice(0, address.lastIndexOf('/'))).element,
        copyLine('Stream key', 'live_stream').element,
        h('p.small', {}, 'Set the key frame interval to 2 s (Settings → Output), so that players start quickly. Any app and stream key can be used; together they are the stream’s name.'))));
  }

  card(stream) {
    const [app, name] = splitName(stream.name);
    const canvas = h('canvas', { 'aria-hidden': 'true', hidden: true });
    const blank = h('span.blank', { 'aria-hidden': 'true' });
    const viewers = h('span.viewers');
    const facts = h('p.facts');
    const flow = h('p.facts');
    const link = h('a', { href: watchLink(stream.name) }, app && h('span.app', {}, `${app}/`), h('span.name', {}, name));
    const frame = h('div.still', {}, blank, canvas, viewers);
    this.stills.add(frame, canvas, stream, () => { canvas.hidden = false; });
    return {
      element: h('li.card', {}, frame, h('h2', {}, link), facts, flow),
      update: (now) => {
        this.stills.update(frame, now);
        text(blank, now.video?.codec ?? (now.audio ? `${now.audio.codec}, audio only` : 'no media yet'));
        text(viewers, plural(now.players.total, 'player'));
        text(facts, videoText(now.video) ?? audioText(now.audio) ?? 'Waiting for the first frame');
        text(flow, `${rate(now.received_kbps)} · ${isSilent(now) ? `no data for ${duration(now.idle_ms)}` : `up ${duration(now.duration_ms)}`}`);
        flow.classList.toggle('alarm', isSilent(now));
      },
      close: () => this.stills.remove(frame),
    };
  }

  close() { this.stills.close(); }
}

function waitingRow(stream) {
  const count = h('span.small');
  return {
    element: h('li', {}, h('a', { href: watchLink(stream.name) }, stream.name), count),
    update: (now) => text(count, plural(now.players.total, 'player')),
  };
}
