// Where a stream is found: by this page, by other programs, by a phone. Pure, but for the place this page came from.

/** A name as the path of a URL. A browser folds away `.` and `..` between slashes, so such a name has its slashes escaped. */
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

/** Relative to the page, so that a proxy may put all of it below a path. */
export const url = (relative) => new URL(relative, document.baseURI);

export function flv(name, { websocket = false } = {}) {
  const address = url(`${path(name)}.flv`);
  if (websocket) address.protocol = address.protocol === 'https:' ? 'wss:' : 'ws:';
  return address.href;
}

/** Encoders and players take an RTMP address as it is typed: nothing is escaped in it. */
export function rtmp(name, summary) {
  const listen = summary?.listen?.rtmp?.[0];
  const port = listen ? listen.slice(listen.lastIndexOf(':') + 1) : '1935';
  return `rtmp://${location.hostname}${port === '1935' ? '' : `:${port}`}/${name}`;
}

/** For a shell, which must not see what a stranger put into a name. */
export function shell(argument) {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}

export function page(name) {
  return new URL(watchLink(name), document.baseURI).href;
}

export const isLoopback = () => /^(localhost|127\.|\[::1\])/.test(location.hostname);
