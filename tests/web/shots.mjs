// Screenshots of every view, for people to look at: node tests/web/shots.mjs DIRECTORY [part of a view's name] [width]
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { openBrowser, startMock } from './browser.mjs';

const [directory, wanted = '', wantedWidth] = process.argv.slice(2);
mkdirSync(directory, { recursive: true });
const SIZES = [[390, 844], [844, 390], [1440, 900], [2560, 1300]].filter(([width]) => !wantedWidth || width === Number(wantedWidth));
const SOON = { timeout: 15000 };
const mock = await startMock();
const base = mock.address;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
await sleep(3000);

const state = (page, name) => page.locator(`.stage[data-state=${name}]`).waitFor(SOON);
const watch = (name) => `#/watch/${name.split('/').map(encodeURIComponent).join('/')}`;
const STATUS = '?token=mock-token#/status';
const many = (page) => page.route(/api\/v1\/streams$/, async (route) => {
  const { streams } = await (await route.fetch()).json();
  const one = streams.find(({ name }) => name === 'studio/camera 1');
  const cams = Array.from({ length: 300 }, (_, at) => ({ ...one, name: `cams/cam-${at + 1}`, received_kbps: 1000 + (at * 37) % 300, idle_ms: at % 17 === 3 ? 9000 : 10, players: { ...one.players, total: at % 9 } }));
  await route.fulfill({ status: 200, contentType: 'application/json', body: JSON.stringify({ streams: [...cams, ...streams] }) });
});
const stills = async (page) => {
  await page.locator('.card canvas:visible').first().waitFor(SOON).catch(() => {});
  await page.waitForTimeout(3500);
};

/** `at`: the address; `before(page)`: what is prepared; `then(page)`: until it is as it should be; `full`: beyond the screen. */
const VIEWS = {
  empty: { at: '#/', full: true, before: (page) => page.route(/api\/v1\/streams$/, (route) => route.fulfill({ status: 200, contentType: 'application/json', body: '{"streams": []}' })), then: (page) => page.getByText('Nothing is live').waitFor(SOON) },
  streams: { at: '#/', full: true, then: stills },
  many: { at: '#/', before: many, then: stills },
  watch: { at: watch('live/live_stream'), full: true, then: async (page) => { await state(page, 'playing'); await page.waitForTimeout(1500); } },
  audio: { at: watch('radio/evening'), full: true, then: async (page) => { await state(page, 'playing'); await page.locator('.stage').click({ position: { x: 20, y: 20 } }); await page.waitForTimeout(1200); } },
  waiting: { at: watch('live/tonight'), then: (page) => page.getByText('Not live').or(page.getByText('Waiting for the encoder')).waitFor(SOON) },
  buffering: { at: watch('studio/camera 2'), then: async (page) => {
    await state(page, 'playing');
    await mock.change('delay?stream=studio/camera%202&ms=100000');
    await state(page, 'buffering');
  }, after: () => mock.change('delay?stream=studio/camera%202&ms=0') },
  unsupported: { at: watch('lab/hevc'), then: (page) => state(page, 'unsupported') },
  crowded: { at: watch('talks/main hall'), before: async (page) => {
    await page.routeWebSocket(/\.flv$/, (socket) => socket.close());
    await page.addInitScript(() => {
      const channel = new BroadcastChannel('fanfare.turns');
      channel.onmessage = ({ data }) => { if (data.asks) for (let id = 0; id < 4; id += 1) channel.postMessage({ id: `${id}`, claim: 1, isHidden: false }); };
    });
  }, then: (page) => state(page, 'crowded') },
  viewer: { at: '#/status', full: true, then: (page) => page.waitForTimeout(2500) },
  status: { at: STATUS, full: true, then: (page) => page.waitForTimeout(4500) },
  'status-many': { at: STATUS, before: many, then: async (page) => { await page.waitForTimeout(2500); await page.getByRole('heading', { name: 'Streams', exact: true }).scrollIntoViewIfNeeded(); } },
  kick: { at: STATUS, then: async (page) => { await page.getByRole('button', { name: /^Kick / }).first().click(); await page.getByRole('dialog').waitFor(SOON); } },
  token: { at: '?token=mock-read-token#/status', then: async (page) => { await page.getByRole('button', { name: 'Enter token' }).click(); await page.getByRole('dialog').waitFor(SOON); } },
  unreachable: { at: '#/', then: async (page) => { await stills(page); await page.route(/\/api\//, (route) => route.abort('connectionrefused')); await page.getByText('does not respond').waitFor(SOON); } },
};

const browser = await openBrowser();
for (const [name, { at, before, then, after, full }] of Object.entries(VIEWS)) {
  if (!name.includes(wanted)) continue;
  for (const [width, height] of SIZES) {
    const isPhone = Math.min(width, height) < 400;
    const context = await browser.newContext({ viewport: { width, height }, deviceScaleFactor: isPhone ? 2 : 1, hasTouch: isPhone });
    const page = await context.newPage();
    await before?.(page);
    await page.goto(base + at);
    await then(page);
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await page.waitForTimeout(300);
      await page.screenshot({ path: join(directory, `${name}-${width}-${colorScheme}.png`), fullPage: Boolean(full) });
    }
    await after?.();
    await context.close();
  }
}
await browser.close();
mock.stop();
