// Asks the relay. Knows tokens and errors; nothing of what is shown.
import { path, url } from './addresses.js';

const KEY = 'fanfare.token';
/** Longer than the relay ever takes; a page that hangs tells nobody anything. */
const TIMEOUT_MS = 6000;

export class ApiError extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

/** A token lives as long as the tab. `?token=` in the page's address is taken in and out of sight at once. */
export const token = {
  get: () => { try { return sessionStorage.getItem(KEY); } catch { return token.kept ?? null; } },
  set: (value) => {
    token.kept = value;
    try { value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY); } catch { /* kept above */ }
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

async function ask(method, relative, signal, read = (response) => response.json()) {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const response = await fetch(url(`api/v1/${relative}`), {
    method,
    headers: headers(),
    cache: 'no-store',
    signal: signal && AbortSignal.any ? AbortSignal.any([signal, timeout]) : timeout,
  });
  if (!response.ok) {
    const answer = await response.json().catch(() => null);
    throw new ApiError(response.status, answer?.error ?? `the relay answered ${response.status}`);
  }
  return response.status === 204 ? null : read(response);
}

export const api = {
  summary: (signal) => ask('GET', 'summary', signal),
  streams: async (signal) => (await ask('GET', 'streams', signal)).streams,
  /** Null if nobody publishes it or waits for it. */
  stream: (name, signal) => ask('GET', `streams/${path(name)}`, signal).catch((error) => {
    if (error.status === 404) return null;
    throw error;
  }),
  still: (name) => ask('GET', `streams/${path(name)}/still.flv`, null, (response) => response.arrayBuffer()),
  players: ({ stream, limit, offset }, signal) => ask('GET', `players?${new URLSearchParams({ ...(stream && { stream }), limit, offset })}`, signal),
  publishers: async (signal) => (await ask('GET', 'publishers', signal)).publishers,
  cores: async (signal) => (await ask('GET', 'cores', signal)).cores,
  history: (signal) => ask('GET', 'history', signal),
  kick: (id) => ask('DELETE', `players/${id}`),
  drop: (id) => ask('DELETE', `publishers/${id}`),
  events: () => {
    const address = url('api/v1/events');
    if (token.get()) address.searchParams.set('token', token.get());
    return new EventSource(address);
  },
};
