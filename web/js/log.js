// The latest events from the relay.
import { api, token } from './api.js';
import { watchLink } from './addresses.js';
import { h, text } from './dom.js';
import { duration } from './format.js';

const LINES = 200;
const RETRY_MS = 3000;

const LABELS = {
  published: 'published', unpublished: 'unpublished', playing: 'playing', play_ended: 'play ended', refused: 'refused', draining: 'shutting down',
};

export class EventLog {
  constructor() {
    this.list = h('ol');
    // Screen readers announce a log by default; on a busy relay that would never stop.
    this.box = h('div.log', { role: 'log', 'aria-live': 'off', 'aria-label': 'Recent events', tabindex: '0' }, this.list);
    this.state = h('p.empty', {}, 'No events yet.');
    this.element = h('div', {}, this.state, this.box);
    this.last = { id: 0, at: '' };
  }

  /** Subscribes, or subscribes again if the token has changed. */
  open() {
    const given = token.get();
    if (this.source && this.given === given) return;
    this.close();
    this.given = given;
    this.source = api.events();
    this.source.onmessage = ({ data, lastEventId }) => {
      const id = Number(lastEventId);
      let event;
      try { event = JSON.parse(data); } catch { return; }
      // A new connection repeats past events; a restarted relay numbers from 1 again.
      if (id && id <= this.last.id && event.at <= this.last.at) return;
      this.last = { id, at: event.at };
      this.state.hidden = true;
      this.list.prepend(line(event));
      while (this.list.childElementCount > LINES) this.list.lastElementChild.remove();
    };
    this.source.onopen = () => text(this.state, 'No events yet.');
    this.source.onerror = () => {
      text(this.state, 'Events are not available; retrying.');
      // The browser reconnects after a lost connection, but not after an unexpected response, as from a restarting relay.
      if (this.source.readyState === EventSource.CLOSED) { clearTimeout(this.retry); this.retry = setTimeout(() => { this.close(); this.open(); }, RETRY_MS); }
    };
  }

  close() { clearTimeout(this.retry); this.source?.close(); this.source = null; }
}

function line(event) {
  const at = new Date(event.at);
  const details = [
    event.protocol?.replaceAll('_', '-'), event.peer, event.limit && `limit: ${event.limit}`, event.reason,
    event.duration_ms !== undefined && event.duration_ms !== null && `after ${duration(event.duration_ms)}`,
  ].filter(Boolean).join(' · ');
  return h('li', { 'data-event': event.event },
    h('time', { datetime: event.at, title: at.toLocaleString() }, at.toLocaleTimeString('en-GB')),
    h('span.what', {}, LABELS[event.event] ?? event.event),
    h('span.where', {}, event.stream ? h('a', { href: watchLink(event.stream) }, event.stream) : '', ' ', h('span.small', {}, details)));
}
