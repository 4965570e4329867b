// A table that updates in place. On a phone, CSS shows it as a list of cards, with the labels set here.
import { Keyed, attribute, h, text } from './dom.js';

/** Rows at first, and more for each click. */
const ROWS = 20;

/** `columns`: [{label, value(row) -> string, or make(row) -> {element, update(row)?}, title(row)?, alarm(row)?, kind: 'number' | 'name' | 'peer' | 'client' | 'media' | 'act'}] */
export class Table {
  constructor({ caption, columns, key, empty, limit = ROWS }) {
    Object.assign(this, { columns, limit, all: [] });
    // Explicit roles, because the phone's CSS removes the implicit table roles.
    this.body = h('tbody', { role: 'rowgroup' });
    this.rows = new Keyed(this.body, key, (row) => this.row(row));
    this.empty = h('p.empty', { hidden: true }, empty);
    this.table = h('table', { role: 'table' }, h('caption.unseen', {}, caption),
      h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, ...columns.map(({ label, kind }) => h(cell('th', kind), { scope: 'col', role: 'columnheader' }, kind === 'act' ? h('span.unseen', {}, label) : label)))), this.body);
    this.more = h('button.quiet', { type: 'button', hidden: true, onclick: () => { this.limit += 5 * ROWS; this.show(this.all); } });
    this.element = h('div.table', {}, this.table, this.empty, h('div.more', {}, this.more));
  }

  row(row) {
    const cells = this.columns.map(({ label, kind, make, value, title, alarm }) => {
      const element = h(cell('td', kind), { 'data-label': label, role: 'cell' });
      // Created once and then updated, so that a button in it keeps its focus.
      if (make) {
        const part = make(row);
        element.append(part.element);
        return { element, update: (now) => part.update?.(now) };
      }
      return { element, update: (now) => { text(element, value(now)); attribute(element, 'title', title?.(now)); element.classList.toggle('alarm', Boolean(alarm?.(now))); } };
    });
    return { element: h('tr', { role: 'row' }, ...cells.map(({ element }) => element)), update: (now) => { for (const each of cells) each.update(now); } };
  }

  show(rows) {
    this.all = rows;
    this.rows.show(rows.slice(0, this.limit));
    this.more.hidden = rows.length <= this.limit;
    text(this.more, `Show ${Math.min(5 * ROWS, rows.length - this.limit)} more of ${rows.length}`);
    this.table.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
  }
}

const cell = (tag, kind) => (kind ? `${tag}.${kind}` : tag);
