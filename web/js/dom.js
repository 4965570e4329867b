// Builds elements. Text is only ever inserted as text: a stream name is untrusted input.

const SVG = 'http://www.w3.org/2000/svg';

/** `h('button.quiet', {type: 'button', onclick}, 'Kick')`; attributes that are null or false are omitted. */
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  return fill(document.createElement(name || 'div'), classes, attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split('.');
  return fill(document.createElementNS(SVG, name), classes, attributes, children);
}

function fill(element, classes, attributes, children) {
  element.classList.add(...classes);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Writes only changes, so that selections and screen readers are not disturbed. */
export function text(element, value) {
  const string = value ?? '';
  if (element.textContent !== string) element.textContent = string;
}

export function attribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * Children of `parent` for `items`, in their order. Existing children are moved and updated, never recreated, so that a
 * focused button keeps its focus while numbers change around it. `make(item)` returns `{element, update(item)?, close()?}`.
 */
export class Keyed {
  constructor(parent, key, make) {
    Object.assign(this, { parent, key, make, shown: new Map() });
  }

  show(items) {
    const keep = new Set(items.map(this.key));
    for (const [key, part] of this.shown) {
      if (keep.has(key)) continue;
      part.close?.();
      part.element.remove();
      this.shown.delete(key);
    }
    let place = this.parent.firstElementChild;
    for (const item of items) {
      const key = this.key(item);
      let part = this.shown.get(key);
      if (!part) this.shown.set(key, part = this.make(item));
      part.update?.(item);
      if (part.element === place) place = place.nextElementSibling;
      else this.parent.insertBefore(part.element, place);
    }
  }

  close() { this.show([]); }
}

/** Announces a change to screen readers. */
export function announce(message) {
  text(document.getElementById('announcement'), '');
  requestAnimationFrame(() => text(document.getElementById('announcement'), message));
}
