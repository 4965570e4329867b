// Which view is shown, and the one clock that refreshes it. Says when the relay cannot be reached.
import { api, token } from './api.js';
import { route } from './addresses.js';
import { attribute, h, text } from './dom.js';
import { StatusView } from './status.js';
import { StreamsView } from './streams.js';
import { WatchView } from './watch.js';

const RETRY_MS = [1000, 2000, 4000, 8000];
const main = document.getElementById('main');
const banner = document.getElementById('banner');
let view = null;
let asking = null;
let timer = null;
let failures = 0;
let isFirst = true;

function show() {
  const { view: which, name } = route(location.hash);
  // From its card a stream starts with what the card knows, not after two more questions.
  const known = view?.streams?.find((stream) => stream.name === name);
  asking?.abort();
  view?.close();
  view = which === 'status' ? new StatusView() : which === 'watch' ? new WatchView(name, known) : new StreamsView();
  document.title = `${view.title} · fanfare`;
  main.replaceChildren(view.element);
  main.dataset.view = which;
  for (const link of document.querySelectorAll('nav [data-view]')) {
    attribute(link, 'aria-current', link.dataset.view === which ? 'page' : null);
  }
  // Who comes by keyboard goes on from the new view's beginning; nobody is moved on the first.
  if (!isFirst) { main.focus({ preventScroll: true }); scrollTo(0, 0); }
  isFirst = false;
  refresh();
}

async function refresh() {
  clearTimeout(timer);
  asking?.abort();
  if (document.hidden && !(view instanceof WatchView)) return;
  const mine = asking = new AbortController();
  const { signal } = mine;
  let next = view.intervalMs;
  try {
    const summary = await api.summary(signal);
    await view.refresh(summary, signal);
    if (signal.aborted) return;
    failures = 0;
    document.body.classList.add('answered');
    text(document.getElementById('version'), `fanfare ${summary.version}`);
    document.getElementById('metrics').hidden = !summary.has_api;
    tell(summary.is_draining ? ['The relay is shutting down', 'Streams go on for some seconds; nothing new is taken.'] : null);
  } catch (error) {
    if (signal.aborted) return;
    next = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
    failures += 1;
    if (error.status) tell(['The relay has an error', error.message]);
    else if (error instanceof TypeError || ['TimeoutError', 'AbortError', 'SyntaxError'].includes(error.name)) tell([`The relay at ${location.host} does not answer`, 'Trying again by itself.']);
    else { tell(['This page has an error', error.message]); console.error(error); }
  }
  if (mine === asking) timer = setTimeout(refresh, next);
}

function tell(words) {
  const key = words?.join('\n') ?? '';
  if (banner.dataset.key === key) return;
  banner.dataset.key = key;
  banner.replaceChildren(...(words ? [h('strong', {}, words[0]), h('span', {}, words[1])] : []));
}

// What it has to say is said on the page.
if (globalThis.mpegts) mpegts.LoggingControl.enableAll = false;
token.takeFromAddress();
addEventListener('hashchange', show);
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
document.querySelector('.skip').addEventListener('click', (event) => { event.preventDefault(); main.focus(); });
addEventListener('refreshnow', refresh);
addEventListener('pagehide', () => view?.close());
addEventListener('pageshow', (event) => { if (event.persisted) show(); });
show();
