// The latest events from the relay, polled with the rest of the status view.
import { api } from './api.js';
import { watchLink } from './addresses.js';
import { h } from './dom.js';
import { clientText, duration } from './format.js';

const LINES = 200;

const LABELS = {
  publishing: 'publishing', publish_ended: 'publish ended', playing: 'playing', play_ended: 'play ended', refused: 'refused', denied: 'denied', draining: 'shutting down',
};

export class EventLog {
  constructor() {
    this.list = h('ol');
    // Screen readers announce a log by default; on a busy relay that would never stop.
    this.box = h('div.log', { role: 'log', 'aria-live': 'off', 'aria-label': 'Recent events', tabindex: '0' }, this.list);
    this.state = h('p.empty', {}, 'No events yet.');
    this.element = h('div', {}, this.state, this.box);
    this.last = null;
  }

  /** Asks for the events since the last time. A relay that has restarted returns all that it has. */
  async refresh(signal) {
    const { last, events } = await api.events(this.last, signal);
    if (signal.aborted) return;
    this.last = last;
    for (const event of events) this.list.prepend(line(event));
    while (this.list.childElementCount > LINES) this.list.lastElementChild.remove();
    this.state.hidden = this.list.childElementCount > 0;
  }
}

function line(event) {
  const at = new Date(event.at);
  const details = [
    event.protocol?.replaceAll('_', '-'), event.peer, event.client && clientText(event.client), event.limit && `limit: ${event.limit}`,
    event.action && `to ${event.action} ${event.name}`, event.rule && `rule ${event.rule}`, event.detail,
    event.duration_ms !== undefined && event.duration_ms !== null && `after ${duration(event.duration_ms)}`,
  ].filter(Boolean).join(' · ');
  return h('li', { 'data-event': event.event },
    h('time', { datetime: event.at, title: at.toLocaleString() }, at.toLocaleTimeString('en-GB')),
    h('span.what', {}, LABELS[event.event] ?? event.event),
    h('span.where', {}, event.stream ? h('a', { href: watchLink(event.stream) }, event.stream) : '', ' ', h('span.small', {}, details)));
}
