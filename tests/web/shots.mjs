// Screenshots of the page, for people to look at: node tests/web/shots.mjs DIRECTORY [url] [stream name] [token]
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { openBrowser, startMock } from './browser.mjs';

const [directory, url, stream = 'live/live_stream', token = 'mock-token'] = process.argv.slice(2);
mkdirSync(directory, { recursive: true });
const mock = url ? null : await startMock();
const base = url ?? mock.address;
await new Promise((resolve) => setTimeout(resolve, 3000));

const browser = await openBrowser();
for (const colorScheme of ['light', 'dark']) {
  for (const [width, height] of [[390, 844], [844, 390], [1440, 900], [2560, 1300]]) {
    const isPhone = Math.min(width, height) < 400;
    const context = await browser.newContext({ viewport: { width, height }, colorScheme, deviceScaleFactor: isPhone ? 2 : 1, hasTouch: isPhone });
    const page = await context.newPage();
    const take = async (view, hash, ready, fullPage = true) => {
      await page.goto(base + hash);
      await ready();
      await page.screenshot({ path: join(directory, `${view}-${width}-${colorScheme}.png`), fullPage });
    };
    await take('streams', '#/', async () => {
      await page.locator('.card canvas:visible').first().waitFor({ timeout: 10000 }).catch(() => {});
      await page.waitForTimeout(3500);
    });
    await take('watch', `#/watch/${stream}`, async () => {
      await page.locator('.stage[data-state=playing]').waitFor();
      await page.waitForTimeout(2000);
    });
    await take('watch-top', `#/watch/${stream}`, async () => {
      await page.locator('.stage[data-state=playing]').waitFor();
      await page.waitForTimeout(1000);
    }, false);
    if (mock) await take('audio-only', '#/watch/radio/evening', async () => {
      await page.locator('.stage[data-state=playing]').waitFor();
      await page.locator('.stage').click({ position: { x: 20, y: 20 } });
      await page.waitForTimeout(1500);
    }, false);
    await take('status-viewer', '#/status', () => page.waitForTimeout(2500));
    await take('status', `?token=${token}#/status`, () => page.waitForTimeout(2500));
    if (mock) {
      await mock.change('empty?on=1');
      await take('empty', '#/', () => page.waitForTimeout(1500));
      await mock.change('empty?on=0');
    }
    await take('status-top', '#/status', () => page.waitForTimeout(2000), false);
    await context.close();
  }
}
await browser.close();
mock?.stop();
