// Requests to the relay. Handles tokens and errors; displays nothing.
import { credentials, path, url, withQuery } from './addresses.js';

const KEY = 'fanfare.token';
/** Longer than the relay ever takes. After that the page reports an error instead of hanging. */
const TIMEOUT_MS = 6000;

export class ApiError extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

/** A token is kept until the tab is closed. `?token=` in the page's address is stored and removed from it at once. */
export const token = {
  get: () => { try { return sessionStorage.getItem(KEY); } catch { return token.kept ?? null; } },
  set: (value) => {
    token.kept = value;
    try { value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY); } catch { /* kept in the property above */ }
  },
  takeFromAddress: () => {
    const address = new URL(location.href);
    const value = address.searchParams.get('token');
    if (value === null) return;
    token.set(value);
    address.searchParams.delete('token');
    history.replaceState(null, '', address);
  },
};

const headers = () => (token.get() ? { Authorization: `Bearer ${token.get()}` } : {});

async function request(method, relative, signal, read = (response) => response.json()) {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const response = await fetch(url(`api/v1/${relative}`), {
    method,
    headers: headers(),
    cache: 'no-store',
    signal: signal && AbortSignal.any ? AbortSignal.any([signal, timeout]) : timeout,
  });
  if (!response.ok) {
    const answer = await response.json().catch(() => null);
    throw new ApiError(response.status, answer?.detail ?? `the relay answered ${response.status}`);
  }
  return response.status === 204 ? null : read(response);
}

export const api = {
  summary: (signal) => request('GET', 'summary', signal),
  streams: async (signal) => (await request('GET', 'streams', signal)).streams,
  /** Null if it has neither a publisher nor waiting players. */
  stream: (name, signal) => request('GET', `streams/${path(name)}`, signal).catch((error) => {
    if (error.status === 404) return null;
    throw error;
  }),
  still: (name) => request('GET', withQuery(`streams/${path(name)}/still.flv`, credentials()), null, (response) => response.arrayBuffer()),
  players: ({ stream, limit, offset }, signal) => request('GET', `players?${new URLSearchParams({ ...(stream && { stream }), limit, offset })}`, signal),
  publishers: async (signal) => (await request('GET', 'publishers', signal)).publishers,
  cores: async (signal) => (await request('GET', 'cores', signal)).cores,
  history: (signal) => request('GET', 'history', signal),
  kick: (id) => request('DELETE', `players/${id}`),
  drop: (id) => request('DELETE', `publishers/${id}`),
  /** Polled, because an event stream would keep one of the six connections that a browser opens per host. */
  events: (after, signal) => request('GET', `events/past?${new URLSearchParams(after ? { after } : {})}`, signal),
};
