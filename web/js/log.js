// The newest events, as the relay tells them.
import { api, token } from './api.js';
import { watchLink } from './addresses.js';
import { h, text } from './dom.js';
import { duration } from './format.js';

const LINES = 200;
const RETRY_MS = 3000;

const WORDS = {
  published: 'published', unpublished: 'unpublished', playing: 'plays', play_ended: 'left', refused: 'refused', draining: 'draining',
};

export class EventLog {
  constructor() {
    this.list = h('ol');
    // A log speaks up by itself; a busy relay would never be silent.
    this.box = h('div.log', { role: 'log', 'aria-live': 'off', 'aria-label': 'Recent events', tabindex: '0' }, this.list);
    this.state = h('p.empty', {}, 'Nothing has happened yet.');
    this.element = h('div', {}, this.state, this.box);
    this.last = { id: 0, at: '' };
  }

  /** From now on; again, if the token is another one. */
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
      // A connection that was made anew tells the past again; a relay that was started anew numbers from 1 again.
      if (id && id <= this.last.id && event.at <= this.last.at) return;
      this.last = { id, at: event.at };
      this.state.hidden = true;
      this.list.prepend(line(event));
      while (this.list.childElementCount > LINES) this.list.lastElementChild.remove();
    };
    this.source.onopen = () => text(this.state, 'Nothing has happened yet.');
    this.source.onerror = () => {
      text(this.state, 'The relay tells no events now; trying again.');
      // The browser tries again after a loss, but not after an answer it did not expect, such as a relay that starts anew.
      if (this.source.readyState === EventSource.CLOSED) { clearTimeout(this.retry); this.retry = setTimeout(() => { this.close(); this.open(); }, RETRY_MS); }
    };
  }

  close() { clearTimeout(this.retry); this.source?.close(); this.source = null; }
}

function line(event) {
  const at = new Date(event.at);
  const details = [
    event.wire?.replaceAll('_', '-'), event.peer, event.limit && `limit: ${event.limit}`, event.reason,
    event.duration_ms !== undefined && event.duration_ms !== null && `after ${duration(event.duration_ms)}`,
  ].filter(Boolean).join(' · ');
  return h('li', { 'data-event': event.event },
    h('time', { datetime: event.at, title: at.toLocaleString() }, at.toLocaleTimeString('en-GB')),
    h('span.what', {}, WORDS[event.event] ?? event.event),
    h('span.where', {}, event.stream ? h('a', { href: watchLink(event.stream) }, event.stream) : '', ' ', h('span.small', {}, details)));
}
