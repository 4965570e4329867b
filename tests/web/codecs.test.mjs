// Tests what the watch page makes of streams of other codecs, which are live at a relay as `codec/NAME`:
//   FANFARE_URL=http://localhost:8080/ node --test tests/web/codecs.test.mjs
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openBrowser } from './browser.mjs';

const BASE = process.env.FANFARE_URL;
const SOON = { timeout: 20000 };
/** Names of streams, and what the page says of each; null if it plays all of it. */
const EXPECTED = {
  'h264+opus': null,
  'h264+flac': 'This page cannot play FLAC: the video plays without audio. ffplay and mpv can play it if they are built with FFmpeg 8.0 or newer.',
  'vp9+opus': 'This page cannot play VP9 | ffplay and mpv can play it if they are built with FFmpeg 8.0 or newer.',
  'av1+aac': 'This page cannot play AV1 | ffplay and mpv can play it if they are built with FFmpeg 6.1 or newer.',
  // As far as this browser has no decoder for it.
  'hevc+aac': 'This browser cannot decode HEVC | ffplay and mpv can play it if they are built with FFmpeg 6.1 or newer.',
};

let browser;
before(async () => { browser = await openBrowser(); });
after(() => browser?.close());

for (const [name, expected] of Object.entries(EXPECTED)) {
  test(`${name}: ${expected ?? 'plays'}`, { skip: !BASE }, async () => {
    const page = await browser.newPage();
    await page.goto(new URL(`#/watch/codec/${name}`, BASE).href);
    const isHevc = await page.evaluate(() => MediaSource.isTypeSupported('video/mp4; codecs="hvc1.1.6.L93.B0"'));
    const hasVideo = !expected?.includes(' | ') || isHevc && name.startsWith('hevc');
    if (hasVideo) {
      await page.waitForFunction(() => document.querySelector('.stage video').getVideoPlaybackQuality().totalVideoFrames > 30, null, SOON);
    } else {
      await page.locator('.stage[data-state=unsupported]').waitFor(SOON);
      assert.equal(await page.locator('.veil p').evaluateAll((lines) => lines.map((line) => line.textContent).join(' | ')), expected);
      assert.equal(await page.getByRole('button', { name: 'Copy VLC' }).isVisible(), false);
      await page.getByRole('button', { name: 'Copy ffplay' }).waitFor(SOON);
    }
    if (name === 'h264+opus') await page.waitForFunction(() => document.querySelector('.stage video').webkitAudioDecodedByteCount > 1000, null, SOON);
    if (name === 'h264+flac') await page.getByText(expected).waitFor(SOON);
    await page.close();
  });
}
