// The page over HTTPS, in a real browser: FANFARE_URL=https://localhost:8443/ FANFARE_STREAM=live/live_stream node --test tests/web/https.test.mjs
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openBrowser } from './browser.mjs';

const { FANFARE_URL: BASE, FANFARE_STREAM: STREAM } = process.env;

test('page and API come over HTTP/2, media over WebSocket or as a body over HTTP/1.1, all of it encrypted', async (t) => {
  const browser = await openBrowser();
  t.after(() => browser.close());
  const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
  const sockets = [];
  page.on('websocket', (socket) => sockets.push(socket.url()));
  const response = await page.goto(new URL(`#/watch/${STREAM}`, BASE).href);
  assert.equal(response.headers()['strict-transport-security'], 'max-age=3600');
  await page.locator('.stage[data-state=playing]').waitFor({ timeout: 20000, state: 'attached' });
  const protocols = () => page.evaluate(() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
    .filter(({ name }) => name.startsWith('https:'))
    .map(({ name, nextHopProtocol }) => [new URL(name).pathname, nextHopProtocol]));
  const before = await protocols();
  assert.ok(before.length > 5, `${before}`);
  assert.deepEqual(before.filter(([, protocol]) => protocol !== 'h2'), []);
  assert.ok(sockets.length > 0 && sockets.every((url) => url.startsWith('wss:')), `${sockets}`);

  // Chromium repeats the request over HTTP/1.1 by itself.
  const body = await page.evaluate(async (path) => {
    const response = await fetch(path);
    const reader = response.body.getReader();
    const { value } = await reader.read();
    await reader.cancel();
    return [response.status, String.fromCharCode(...value.slice(0, 3))];
  }, `/${STREAM}.flv`);
  assert.deepEqual(body, [200, 'FLV']);
  assert.equal(await page.evaluate(async () => (await fetch('/api/v1/summary')).status), 200);
});
