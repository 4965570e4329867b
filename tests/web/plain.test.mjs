// Tests mpegts.js in a third-party page, which knows only a stream's address, against a relay:
//   FANFARE_URL=http://localhost:8080/ FANFARE_STREAM=live/live_stream node --test tests/web/plain.test.mjs
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openBrowser } from './browser.mjs';

const BASE = process.env.FANFARE_URL;
let browser;
before(async () => { browser = await openBrowser(); });
after(() => browser?.close());

const HTML = '<!doctype html><video muted></video><script src="/assets/vendor/mpegts/mpegts.js"></script>';

test('mpegts.js with default settings plays without interruption', { skip: !BASE }, async (t) => {
  const page = await browser.newPage();
  await page.route(/plain\.html$/, (route) => route.fulfill({ contentType: 'text/html', body: HTML }));
  await page.goto(new URL('plain.html', BASE).href);
  await page.evaluate((url) => {
    window.faults = [];
    const player = mpegts.createPlayer({ type: 'flv', isLive: true, url });
    player.on(mpegts.Events.ERROR, (type, detail, info) => window.faults.push(`${type} ${detail} ${info?.msg}`));
    player.attachMediaElement(document.querySelector('video'));
    player.load();
    player.play();
  }, new URL(`${process.env.FANFARE_STREAM}.flv`, BASE).href);
  const frames = () => page.evaluate(() => document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames);
  await page.waitForFunction(() => document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames > 10, null, { timeout: 15000 });
  const first = await frames();
  await page.waitForTimeout(Number(process.env.FANFARE_SECONDS ?? 4) * 1000);
  t.diagnostic(`${first} frames, then ${await frames()}`);
  assert.ok(await frames() > first + 30, `${await frames()} after ${first}`);
  assert.deepEqual(await page.evaluate(() => window.faults), []);
});
