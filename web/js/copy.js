// An address with a button that copies it. Without the clipboard API, as over plain HTTP, it falls back to execCommand.
import { announce, h, text } from './dom.js';

export function copyLine(label, value) {
  const code = h('code', { tabindex: '0' });
  write(code, value);
  const button = h('button.quiet.copy', { type: 'button', 'aria-label': `Copy ${label}`, onclick: async () => {
    const copied = await copy(code.textContent) || select(code);
    text(button, copied === true ? 'Copied' : 'Press Ctrl C');
    announce(copied === true ? `${label} copied` : `${label} selected`);
    setTimeout(() => text(button, 'Copy'), 1600);
  } }, 'Copy');
  const element = h('div.address', {}, h('span.label', {}, label), code, button);
  return { element, update: (next) => write(code, next) };
}

/** Allows line breaks after a slash and before an option, not within a word. */
function write(code, value) {
  if (code.textContent === value) return;
  const parts = value.split(/( -\S+)|(?<=[^/]\/)(?!\/)/).filter(Boolean);
  code.replaceChildren(...parts.flatMap((part) => (part.startsWith(' -') ? [' ', h('span.whole', {}, part.slice(1))] : [part, h('wbr')])));
}

async function copy(value) {
  try {
    await navigator.clipboard.writeText(value);
    return true;
  } catch { /* not permitted, or not available */ }
  const area = h('textarea.unseen', { 'aria-hidden': 'true', tabindex: '-1' });
  area.value = value;
  const before = document.activeElement;
  document.body.append(area);
  area.select();
  const copied = document.execCommand('copy');
  area.remove();
  before?.focus();
  return copied;
}

function select(element) {
  getSelection().selectAllChildren(element);
  return 'selected';
}
