// The operator's view: throughput, cores, publishers and players, with buttons that end connections.
import { api } from './api.js';
import { watchLink } from './addresses.js';
import { act, askToken, confirm, tokenExplanation, tokenProblem } from './dialogs.js';
import { Keyed, attribute, h, text } from './dom.js';
import { audioText, byName, bytes, clientText, duration, isSilent, number, percent, plural, rate, videoText } from './format.js';
import { EventLog } from './log.js';
import { Plot } from './plot.js';
import { Table } from './table.js';

const PAGE_ROWS = 20;
const HISTORY = 900;
/** Above this a core has little headroom for a burst. */
const BUSY = 0.8;
const PROTOCOLS = { rtmp: 'RTMP', http_flv: 'HTTP-FLV', websocket_flv: 'WebSocket' };

export class StatusView {
  title = 'Status';
  intervalMs = 2000;

  constructor() {
    this.heading = h('h1', {}, 'Status');
    this.lead = h('p.lead');
    this.rights = h('button.quiet', { type: 'button', hidden: true, onclick: async () => {
      const why = 'Addresses, players and events, and ending connections, are for operators only.';
      if (await askToken(tokenExplanation(this.problem, why))) this.refreshNow();
    } }, 'Enter token');
    this.locked = h('p.note', { hidden: true });
    this.viewers = new Plot({ title: 'Players', series: [{ name: 'Players', key: 'players', kind: 'area' }], format: (value) => number(Math.round(value ?? 0)), minTop: 4 });
    this.rates = new Plot({ title: 'Bitrate', series: [{ name: 'out', key: 'sent_kbps', kind: 'area' }, { name: 'in', key: 'received_kbps', kind: 'line' }], format: rate, minTop: 1000 });
    this.facts = h('dl.numbers');
    this.numbers = new Keyed(this.facts, ({ label }) => label, makeNumber);
    this.cores = new Table({ caption: 'Cores', key: ({ core }) => core, empty: 'No cores.', columns: [
      { label: 'Core', value: ({ core }) => `Core ${core}`, kind: 'name' },
      { label: 'Busy', make: makeBusy },
      { label: 'Connections', value: ({ connections }) => number(connections), kind: 'number' },
      { label: 'Players', value: ({ players }) => number(players.total), kind: 'number' },
      { label: 'In', value: ({ received_kbps }) => rate(received_kbps), kind: 'number' },
      { label: 'Out', value: ({ sent_kbps }) => rate(sent_kbps), kind: 'number' },
      { label: 'Per send', value: ({ bytes_per_send }) => bytes(bytes_per_send), kind: 'number' },
      { label: 'Skips', value: ({ skips }) => number(skips), kind: 'number' },
    ] });
    this.search = h('input', { type: 'search', 'aria-label': 'Search streams', placeholder: 'Search', spellcheck: 'false', oninput: () => this.showStreams() });
    this.streamTable = new Table({ caption: 'Streams', key: ({ name }) => name, empty: 'No stream matches.', columns: [
      { label: 'Stream', make: ({ name }) => streamLink({ stream: name }), kind: 'name' },
      { label: 'Video', value: ({ video }) => videoText(video) ?? '–', kind: 'media' },
      { label: 'Audio', value: ({ audio }) => audioText(audio) ?? '–', kind: 'media' },
      { label: 'Bitrate', value: bitrateText, alarm: isSilent, kind: 'number' },
      { label: 'Players', value: ({ players }) => number(players.total), kind: 'number' },
      { label: 'Out', value: ({ sent_kbps }) => rate(sent_kbps), kind: 'number' },
      { label: 'Live for', value: ({ duration_ms }) => duration(duration_ms), kind: 'number' },
    ] });
    this.publishers = new Table({ caption: 'Publishers', key: ({ id }) => id, empty: 'No publishers.', columns: [
      { label: 'Stream', make: streamLink, kind: 'name' },
      { label: 'Address', value: ({ peer }) => peer ?? '–', kind: 'peer' },
      { label: 'Client', value: ({ client }) => clientText(client), title: ({ client }) => client, kind: 'client' },
      { label: 'Core', value: ({ core }) => String(core), kind: 'number' },
      { label: 'Duration', value: ({ duration_ms }) => duration(duration_ms), kind: 'number' },
      { label: 'Received', value: ({ received_bytes }) => bytes(received_bytes), kind: 'number' },
      { label: 'Bitrate', value: ({ received_kbps }) => rate(received_kbps), kind: 'number' },
      { label: 'Drop', make: (row) => this.end(row, 'Drop', 'drop'), kind: 'act' },
    ] });
    this.players = new Table({ caption: 'Players', key: ({ id }) => id, empty: 'No players.', columns: [
      { label: 'Stream', make: streamLink, kind: 'name' },
      { label: 'Address', value: ({ peer }) => peer, kind: 'peer' },
      { label: 'Client', value: ({ client }) => clientText(client), title: ({ client }) => client, kind: 'client' },
      { label: 'Protocol', value: ({ protocol }) => PROTOCOLS[protocol] ?? protocol },
      { label: 'Core', value: ({ core }) => String(core), kind: 'number' },
      { label: 'Duration', value: ({ duration_ms }) => duration(duration_ms), kind: 'number' },
      { label: 'Sent', value: ({ sent_bytes }) => bytes(sent_bytes), kind: 'number' },
      { label: 'Bitrate', value: ({ kbps }) => rate(kbps), kind: 'number' },
      { label: 'Lag', value: ({ lag_ms }) => (lag_ms === null ? '–' : `${number(lag_ms)} ms`), kind: 'number' },
      { label: 'Kick', make: (row) => this.end(row, 'Kick', 'kick'), kind: 'act' },
    ] });
    this.offset = 0;
    this.filter = h('select', { id: 'filter', onchange: () => { this.offset = 0; this.refreshNow(); } }, h('option', { value: '' }, 'All streams'));
    this.back = h('button.quiet', { type: 'button', onclick: () => { this.offset = Math.max(0, this.offset - PAGE_ROWS); this.refreshNow(); } }, 'Previous');
    this.on = h('button.quiet', { type: 'button', onclick: () => { this.offset += PAGE_ROWS; this.refreshNow(); } }, 'Next');
    this.range = h('span.small');
    this.answer = h('p.note', { role: 'status', hidden: true });
    this.log = new EventLog();
    this.history = [];

    this.element = h('div.status', {},
      h('header.lead-in', {}, this.heading, this.lead, h('span.grow'), this.rights),
      this.plots = h('div.plots', {}, this.viewers.element, this.rates.element),
      this.facts,
      this.answer,
      this.locked,
      h('div.parts', {},
        h('div', {},
          this.coresPart = section('Cores', this.cores.element),
          this.streamsPart = section('Streams', this.streamTools = h('div.tools', { role: 'search' }, this.search), this.streamTable.element)),
        h('div', {},
          this.publishersPart = section('Publishers', this.publishers.element),
          this.eventsPart = section('Events', this.log.element))),
      this.playersPart = section('Players', h('div.tools', {}, h('label.unseen', { for: 'filter' }, 'Stream'), this.filter, h('span.grow'), this.range, this.back, this.on), this.players.element));
  }

  async refresh(summary, signal) {
    const { has_api, may_read, may_write } = summary;
    const stream = this.filter.value || null;
    const [cores, publishers, page, streams, history, events] = await Promise.all([
      has_api ? ifAllowed(api.cores(signal)) : null,
      has_api ? ifAllowed(api.publishers(signal)) : null,
      may_read ? ifAllowed(api.players({ stream, limit: PAGE_ROWS, offset: this.offset }, signal)) : null,
      api.streams(signal),
      has_api ? ifAllowed(this.remember(summary, signal)) : null,
      may_read ? ifAllowed(this.log.refresh(signal).then(() => true)) : null,
    ]);
    if (signal.aborted) return;
    this.rights.hidden = may_write || !has_api;
    this.problem = tokenProblem(summary);
    this.locked.hidden = Boolean(may_read);
    text(this.locked, has_api ? `Addresses, players and events are for operators only. ${this.problem ?? 'Enter the token to see them.'}`
      : 'The operator’s view is on a separate address.');
    text(this.lead, `Up ${duration(summary.uptime_ms)} · ${plural(summary.streams.live, 'stream')} live${summary.streams.waiting ? `, ${summary.streams.waiting} waiting for an encoder` : ''} · ${plural(summary.players.total, 'player')}`);
    this.numbers.show(numbersOf(summary));
    this.showPart(this.plots, history, () => { this.viewers.show(history); this.rates.show(history); });
    this.showPart(this.coresPart, cores, () => this.cores.show(cores));
    // What the token of this tab does not allow is not offered.
    this.publishers.element.classList.toggle('without-peers', !may_read);
    for (const table of [this.publishers, this.players]) table.element.classList.toggle('without-acts', !may_write);
    this.allStreams = streams.sort((a, b) => byName(a.name, b.name));
    this.showPart(this.streamsPart, streams.length > 0, () => this.showStreams());
    this.showPart(this.publishersPart, publishers, () => this.publishers.show(withBitrates(publishers, streams)));
    this.eventsPart.hidden = !events;
    this.showPart(this.playersPart, page, () => this.showPlayers(page, streams));
  }

  showPart(part, content, show) {
    part.hidden = !content;
    if (content) show();
  }

  showStreams() {
    const words = this.search.value.toLowerCase().split(/\s+/);
    this.streamTools.hidden = this.allStreams.length <= PAGE_ROWS / 2 && !this.search.value;
    this.streamTable.show(this.allStreams.filter(({ name }) => words.every((word) => name.toLowerCase().includes(word))));
  }

  /** What each player has been sent since the last time, kbit/s. */
  measure(players) {
    const now = performance.now();
    const before = this.sent ?? new Map();
    this.sent = new Map(players.map(({ id, sent_bytes }) => [id, { sent_bytes, at: now }]));
    return players.map((player) => {
      const last = before.get(player.id);
      return { ...player, kbps: last && now > last.at ? Math.max(0, player.sent_bytes - last.sent_bytes) * 8 / (now - last.at) : null };
    });
  }

  showPlayers(page, streams) {
    this.players.show(this.measure(page.players));
    this.showFilter(streams);
    // The last page may have become empty.
    if (page.players.length === 0 && this.offset > 0) { this.offset = Math.max(0, this.offset - PAGE_ROWS); }
    const last = this.offset + page.players.length;
    text(this.range, page.total > PAGE_ROWS ? `${this.offset + 1} to ${last} of ${number(page.total)}` : '');
    this.back.hidden = this.offset === 0;
    this.on.hidden = last >= page.total;
  }

  /** Fetches the history once; after that, each summary is the next sample. */
  async remember(summary, signal) {
    const newest = this.history.at(-1)?.uptime_ms ?? Infinity;
    if (summary.uptime_ms < newest || summary.uptime_ms - newest > 10000) {
      const { samples } = await api.history(signal);
      this.history = samples.slice(-HISTORY);
    }
    if (summary.uptime_ms > (this.history.at(-1)?.uptime_ms ?? -1)) {
      const { players, received_kbps, sent_kbps, uptime_ms } = summary;
      this.history.push({ uptime_ms, players: players.total, received_kbps, sent_kbps });
    }
    const oldest = this.history.at(-1).uptime_ms - HISTORY * 1000;
    while (this.history[0].uptime_ms < oldest) this.history.shift();
    return this.history;
  }

  showFilter(streams) {
    const names = streams.map(({ name }) => name);
    const chosen = this.filter.value;
    // The chosen stream stays in the list, even after it has ended.
    if (chosen && !names.includes(chosen)) names.push(chosen);
    if (this.filterNames === names.join('\n')) return;
    this.filterNames = names.join('\n');
    this.filter.replaceChildren(h('option', { value: '' }, 'All streams'), ...names.map((name) => h('option', { value: name }, name)));
    this.filter.value = chosen;
  }

  end({ id, stream, peer }, label, action) {
    const button = h('button.quiet.small', { type: 'button', 'aria-label': `${label} ${peer}, ${stream}`, onclick: async () => {
      const sure = action === 'drop'
        ? await confirm('Drop this publisher?', `${stream} from ${peer} ends for all of its players. The encoder may reconnect.`, 'Drop')
        : await confirm('Kick this player?', `${peer} is disconnected from ${stream}. It may reconnect; the player of this page does so after a few seconds.`, 'Kick');
      if (!sure) return;
      button.disabled = true;
      const result = await act((relay) => relay[action](id), action === 'drop' ? `${stream} was dropped.` : `${peer} was kicked.`);
      button.disabled = false;
      this.answer.hidden = false;
      this.answer.classList.toggle('alarm', !result.done);
      text(this.answer, result.message);
      clearTimeout(this.hideTimer);
      this.hideTimer = setTimeout(() => { this.answer.hidden = true; }, 8000);
      this.refreshNow();
    } }, label);
    return { element: button };
  }

  /** Refreshes at once, instead of within two seconds. */
  refreshNow() { dispatchEvent(new Event('refreshnow')); }

  close() {
    clearTimeout(this.hideTimer);
    this.viewers.close();
    this.rates.close();
  }
}

const bitrateText = (stream) => (isSilent(stream) ? `no data for ${duration(stream.idle_ms)}` : stream.is_live ? rate(stream.received_kbps) : 'not live');

/** A publisher's bitrate is its stream's. */
function withBitrates(publishers, streams) {
  const rates = new Map(streams.map(({ name, received_kbps }) => [name, received_kbps]));
  return publishers.map((each) => ({ ...each, received_kbps: rates.get(each.stream) })).sort((a, b) => byName(a.stream, b.stream));
}

/** Null if a token is required: the rest of the view is shown anyway. */
const ifAllowed = (answer) => answer.catch((error) => {
  if (error.status === 401) return null;
  throw error;
});

function section(title, ...parts) {
  const id = `section-${title.toLowerCase()}`;
  return h('section', { 'aria-labelledby': id }, h('h2', { id }, title), ...parts);
}

function streamLink({ stream }) {
  const link = h('a', { href: watchLink(stream) }, stream);
  return { element: link };
}

function makeBusy() {
  const filled = h('i');
  const bar = h('span.bar', { 'aria-hidden': 'true' }, filled);
  const value = h('span');
  return {
    element: h('span.busy', {}, bar, value),
    update: ({ busy_ratio }) => {
      filled.style.width = `${Math.min(1, busy_ratio) * 100}%`;
      bar.classList.toggle('alarm', busy_ratio > BUSY);
      text(value, percent(busy_ratio));
    },
  };
}

function makeNumber() {
  const label = h('dt');
  const value = h('dd');
  const beside = h('dd.small');
  return {
    element: h('div', {}, label, value, beside),
    update: (now) => {
      text(label, now.label);
      text(value, now.value);
      text(beside, now.beside);
      attribute(value, 'class', now.isAlarm ? 'alarm' : null);
    },
  };
}

function numbersOf({ received_kbps, sent_kbps, received_bytes, sent_bytes, skips, send_timeouts, refusals, memory, open_files, open_files_limit, players, connections }) {
  return [
    { label: 'Out', value: rate(sent_kbps), beside: `${bytes(sent_bytes)} since start` },
    { label: 'In', value: rate(received_kbps), beside: `${bytes(received_bytes)} since start` },
    { label: 'Connections', value: number(connections), beside: `players: RTMP ${number(players.rtmp)}, HTTP ${number(players.http_flv)}, WebSocket ${number(players.websocket_flv)}` },
    { label: 'Skips', value: number(skips), beside: 'slow players moved to a key frame' },
    { label: 'Drops', value: number(send_timeouts), beside: 'accepted no data for too long', isAlarm: send_timeouts > 0 },
    { label: 'Refused', value: number(refusals), beside: 'by a limit', isAlarm: refusals > 0 },
    { label: 'Memory', value: bytes(memory.resident_bytes), beside: `${bytes(memory.counted_bytes)} of ${bytes(memory.budget_bytes)} budget`, isAlarm: memory.counted_bytes > 0.9 * memory.budget_bytes },
    { label: 'Open files', value: number(open_files), beside: `of ${number(open_files_limit)}`, isAlarm: open_files > 0.9 * open_files_limit },
  ];
}
