// Chooses the view, refreshes it with a single timer, and shows when the relay cannot be reached.
import { api, token } from './api.js';
import { followStreamParameter, route } from './addresses.js';
import { attribute, h, text } from './dom.js';
import { StatusView } from './status.js';
import { StreamsView } from './streams.js';
import { WatchView } from './watch.js';

const RETRY_MS = [1000, 2000, 4000, 8000];
const main = document.getElementById('main');
const banner = document.getElementById('banner');
let view = null;
let request = null;
let timer = null;
let failures = 0;
let isFirst = true;

function show() {
  const { view: which, name } = route(location.hash);
  // Opened from its card, a stream starts with what the card knows instead of waiting for two more requests.
  const known = view?.streams?.find((stream) => stream.name === name);
  request?.abort();
  view?.close();
  view = which === 'status' ? new StatusView() : which === 'watch' ? new WatchView(name, known) : new StreamsView();
  document.title = `${view.title} · fanfare`;
  main.replaceChildren(view.element);
  main.dataset.view = which;
  for (const link of document.querySelectorAll('nav [data-view]')) {
    attribute(link, 'aria-current', link.dataset.view === which ? 'page' : null);
  }
  // Keyboard focus continues at the start of the new view; the first view leaves the focus alone.
  if (!isFirst) { main.focus({ preventScroll: true }); scrollTo(0, 0); }
  isFirst = false;
  refresh();
}

async function refresh() {
  clearTimeout(timer);
  request?.abort();
  if (document.hidden && !(view instanceof WatchView)) return;
  const current = request = new AbortController();
  const { signal } = current;
  let next = view.intervalMs;
  try {
    const summary = await api.summary(signal);
    await view.refresh(summary, signal);
    if (signal.aborted) return;
    failures = 0;
    document.body.classList.add('answered');
    text(document.getElementById('version'), `fanfare ${summary.version}`);
    document.getElementById('metrics').hidden = !summary.has_api;
    showBanner(summary.is_draining ? ['The relay is shutting down', 'Streams continue for a few seconds; new connections are refused.'] : null);
  } catch (error) {
    if (signal.aborted) return;
    next = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
    failures += 1;
    if (error.status) showBanner(['The relay returned an error', error.message]);
    else if (error instanceof TypeError || ['TimeoutError', 'AbortError', 'SyntaxError'].includes(error.name)) showBanner([`The relay at ${location.host} does not respond`, 'Retrying automatically.']);
    else { showBanner(['Error in this page', error.message]); console.error(error); }
  }
  if (current === request) timer = setTimeout(refresh, next);
}

function showBanner(lines) {
  const key = lines?.join('\n') ?? '';
  if (banner.dataset.key === key) return;
  banner.dataset.key = key;
  banner.replaceChildren(...(lines ? [h('strong', {}, lines[0]), h('span', {}, lines[1])] : []));
}

// Its errors are shown on the page.
if (globalThis.mpegts) mpegts.LoggingControl.enableAll = false;
token.takeFromAddress();
followStreamParameter();
addEventListener('hashchange', show);
document.addEventListener('visibilitychange', () => { if (!document.hidden) refresh(); });
document.querySelector('.skip').addEventListener('click', (event) => { event.preventDefault(); main.focus(); });
addEventListener('refreshnow', refresh);
addEventListener('pagehide', () => view?.close());
addEventListener('pageshow', (event) => { if (event.persisted) show(); });
show();
