// Shares the browser's connections to the relay among the tabs of this page that receive their stream as an HTTP body.

/** A browser opens six HTTP/1.1 connections per host. The others are for what the tabs ask the API. */
export const MAX_BODIES = 4;
/** Other tabs answer in a few milliseconds; one that does not is frozen, or busy. */
const ANSWER_MS = 250;

/**
 * One for each tab. Tabs that want a body make a claim and ask the others: as many of the earliest claims as there are connections
 * are good. Without secrets and without a server, so it works over plain HTTP, where browsers have no Web Locks.
 */
export class Turns {
  /** Calls `onyield()` when this tab, which is hidden, has given its connection to one that is seen. */
  constructor(onyield) {
    this.onyield = onyield;
    this.id = `${Math.random()}`;
    this.claim = null;
    this.others = new Map();
    this.channel = new BroadcastChannel('fanfare.turns');
    this.channel.onmessage = ({ data }) => this.hear(data);
  }

  get isTaken() { return this.claim !== null; }

  /** True if this tab may open a body now, until it calls `leave`. */
  async take() {
    if (!isLimited()) return true;
    this.claim = performance.timeOrigin + performance.now();
    this.others.clear();
    this.say({ asks: true });
    await new Promise((resolve) => { setTimeout(resolve, ANSWER_MS); });
    // It left, or has been closed, in the meantime.
    if (this.claim === null) return false;
    const before = [...this.others.values()].filter((other) => isEarlier(other, this));
    if (before.length < MAX_BODIES) return true;
    const hidden = before.filter((other) => other.isHidden);
    // Every connection too many is one of the earlier claims: this one, and those that wait like this one.
    if (!document.hidden && hidden.length > before.length - MAX_BODIES) {
      for (const { id } of hidden.slice(0, before.length - MAX_BODIES + 1)) this.channel.postMessage({ yields: id });
      return true;
    }
    this.leave();
    return false;
  }

  leave() {
    if (this.claim === null) return;
    this.claim = null;
    this.say();
  }

  say(more) { this.channel.postMessage({ id: this.id, claim: this.claim, isHidden: document.hidden, ...more }); }

  hear({ id, claim, isHidden, asks, yields }) {
    if (yields === this.id && document.hidden && this.claim !== null) { this.leave(); this.onyield(); }
    if (!id) return;
    if (claim === null) this.others.delete(id);
    else this.others.set(id, { id, claim, isHidden });
    if (asks && this.claim !== null) this.say();
  }

  close() { this.leave(); this.channel.close(); }
}

const isEarlier = (one, other) => one.claim < other.claim || one.claim === other.claim && one.id < other.id;

/** HTTP/2 and later carry any number of streams on one connection. */
const isLimited = () => ['', 'http/1.0', 'http/1.1'].includes(performance.getEntriesByType('navigation')[0]?.nextHopProtocol ?? '');
