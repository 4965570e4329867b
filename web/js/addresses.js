// Addresses of a stream: for this page, for other programs, for a phone. Pure, except that it reads the page's own address.

/** A stream name as a URL path. Browsers resolve `.` and `..` between slashes, so in such a name the slashes are escaped. */
export function path(name) {
  const parts = name.split('/');
  if (parts.some((part) => part === '.' || part === '..')) return encodeURIComponent(name);
  return parts.map(encodeURIComponent).join('/');
}

export const watchLink = (name) => `#/watch/${path(name)}`;

/** `#/watch/live/a%20b` -> {view: 'watch', name: 'live/a b'} */
export function route(hash) {
  const [view, ...rest] = hash.replace(/^#\/?/, '').split('/');
  if (view === 'status') return { view };
  if (view === 'watch' && rest.length > 0) {
    try { return { view, name: rest.map(decodeURIComponent).join('/') }; } catch { /* a stray % */ }
  }
  return { view: 'streams' };
}

/** Opens `/?stream=live/a`, which is easier to write by hand, as `/#/watch/live/a`. Other parameters stay. */
export function followStreamParameter() {
  const address = new URL(location.href);
  const name = address.searchParams.get('stream');
  if (!name) return;
  address.searchParams.delete('stream');
  if (address.hash === '') address.hash = watchLink(name);
  history.replaceState(null, '', address);
}

/** Relative to the page, so that a proxy can serve everything below a path. */
export const url = (relative) => new URL(relative, document.baseURI);

/** What shows a relay that its bearer may watch. `token` is another thing: the API's. */
const CREDENTIALS = ['key', 'exp', 'sig', 'net', 'session', 'jwt', 'user', 'pass'];

/** Those of this page's own address, `/?key=…#/watch/live/a`, as a query without `?`; empty if there are none. */
export function credentials() {
  const given = new URL(location.href).searchParams;
  return new URLSearchParams([...given].filter(([name]) => CREDENTIALS.includes(name))).toString();
}

/** The same address, if there is one, with these parameters. */
export const withQuery = (address, query) => (address && query ? `${address}?${query}` : address);

export function flv(name, { websocket = false, query = '' } = {}) {
  const address = url(`${path(name)}.flv`);
  address.search = query;
  if (websocket) address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
  return address.href;
}

/** Encoders and players use an RTMP address as typed, so nothing in it is escaped. */
export function rtmp(name, summary) {
  return `rtmp://${location.hostname}${port(summary?.listen?.rtmp, '1935') ?? ''}/${name}`;
}

/** The same over TLS, or null if the relay does not listen for it. */
export function rtmps(name, summary) {
  const at = port(summary?.listen?.rtmps, '443');
  return at === null ? null : `rtmps://${location.hostname}${at}/${name}`;
}

/** HTTP-FLV over TLS for other programs: at this page's address if that is encrypted, else at the relay's; or null. */
export function encryptedFlv(name, summary) {
  if (location.protocol === 'https:') return flv(name);
  const at = port(summary?.listen?.https, '443');
  return at === null ? null : `https://${location.hostname}${at}/${path(name)}.flv`;
}

/** The port of the first address, as it is written in a URL; null without an address. */
function port(addresses, standard) {
  const first = addresses?.[0];
  if (!first) return null;
  const number = first.slice(first.lastIndexOf(':') + 1);
  return number === standard ? '' : `:${number}`;
}

/** Quoted for a shell: a stream name is untrusted input. */
export function shell(argument) {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}

export function page(name, query = '') {
  const address = url(watchLink(name));
  address.search = query;
  return address.href;
}

export const isLoopback = () => /^(localhost|127\.|\[::1\])/.test(location.hostname);
