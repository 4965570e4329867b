// The newest events, as the relay tells them.
import { api } from './api.js';
import { watchLink } from './addresses.js';
import { h, text } from './dom.js';
import { duration } from './format.js';

const LINES = 200;

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
    this.last = 0;
    this.open();
  }

  open() {
    this.source = api.events();
    this.source.onmessage = ({ data, lastEventId }) => {
      const id = Number(lastEventId);
      // A connection that was made anew tells the past again.
      if (id && id <= this.last) return;
      this.last = id || this.last;
      let event;
      try { event = JSON.parse(data); } catch { return; }
      this.state.hidden = true;
      this.list.prepend(line(event));
      while (this.list.childElementCount > LINES) this.list.lastElementChild.remove();
    };
    this.source.onopen = () => text(this.state, 'Nothing has happened yet.');
    this.source.onerror = () => {
      text(this.state, 'The relay tells no events now; trying again.');
      // The browser tries again after a loss, but not after an answer it did not expect, such as a relay that starts anew.
      if (this.source.readyState === EventSource.CLOSED) { clearTimeout(this.retry); this.retry = setTimeout(() => this.open(), 3000); }
    };
  }

  close() { clearTimeout(this.retry); this.source.close(); }
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
