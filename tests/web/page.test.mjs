// Tests the page in a real browser, against the mock or against a relay:
//   FANFARE_URL=http://localhost:8080/ FANFARE_TOKEN=… FANFARE_STREAM=live/live_stream node --test tests/web/
// With a relay, that stream must be live; the tests run ffmpeg as an encoder that stops and restarts.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { axe, jsqr, openBrowser, startMock } from './browser.mjs';

const STREAM = process.env.FANFARE_STREAM ?? 'live/live_stream';
/** The operator's token. */
const TOKEN = process.env.FANFARE_TOKEN ?? 'mock-token';
const OPERATE = `?token=${TOKEN}#/status`;
const SHORT = { timeout: 8000 };
let browser, mock, base, summary;

before(async () => {
  mock = process.env.FANFARE_URL ? null : await startMock();
  base = process.env.FANFARE_URL ?? mock.address;
  browser = await openBrowser();
  for (let tries = 0; ; tries += 1) {
    const answer = await (await fetch(new URL('api/v1/streams', base))).json();
    // Key frames have arrived, so the relay knows the tracks.
    if (answer.streams.some((stream) => stream.name === STREAM && stream.is_live && stream.video)) break;
    assert.ok(tries < 20, `${STREAM} is not live at ${base}`);
    await sleep(500);
  }
  summary = await (await fetch(new URL('api/v1/summary', base))).json();
  await sleep(2500);
});
after(async () => { await browser?.close(); mock?.stop(); });

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A page that fails its test on a request to another host, a console error, or a content security policy violation. */
async function open(t, hash, { allow = [], prepare, ...options } = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  const wrong = [];
  page.on('request', (request) => {
    const { protocol, host } = new URL(request.url());
    if (!['blob:', 'data:'].includes(protocol) && host !== new URL(base).host) wrong.push(`asked ${request.url()}`);
  });
  page.on('websocket', (socket) => { if (new URL(socket.url()).host !== new URL(base).host) wrong.push(`asked ${socket.url()}`); });
  page.on('pageerror', (error) => wrong.push(`${error}`));
  page.on('console', (message) => {
    if (message.type() === 'error' && !allow.some((pattern) => pattern.test(message.text()))) wrong.push(message.text());
  });
  t.after(async () => {
    // Responses to the page that are still in flight are of no interest.
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await context.close();
    assert.deepEqual(wrong, []);
  });
  await prepare?.(page);
  await page.goto(new URL(hash, base).href);
  return page;
}

const watch = (name) => `#/watch/${name.split('/').map(encodeURIComponent).join('/')}`;
const state = (page, name) => page.locator(`.stage[data-state=${name}]`).waitFor({ ...SHORT, state: 'attached' });
const played = (page) => page.evaluate(() => {
  const video = document.querySelector('.stage video');
  return { time: video?.currentTime ?? 0, frames: video?.getVideoPlaybackQuality().totalVideoFrames ?? 0, muted: video?.muted };
});
const plays = (page, timeout = 5000) => page.waitForFunction(() => {
  const video = document.querySelector('.stage video');
  return video?.readyState >= 2 && !video.paused && video.getVideoPlaybackQuality().totalVideoFrames > 0;
}, null, { timeout, polling: 20 });
const json = (body, status = 200) => ({ status, contentType: 'application/json', body: JSON.stringify(body) });
const api = (path) => new RegExp(`/api/v1/${path}(\\?|$)`);

/** An encoder for one test: the mock's, or ffmpeg that publishes to the relay. */
async function encoder(t) {
  const name = mock ? STREAM : 'live/page_test';
  let child = null;
  const port = summary.listen.rtmp[0].split(':').at(-1);
  const start = async ({ audio = true } = {}) => {
    if (mock) { await mock.change(`start?stream=${STREAM}`); return; }
    child = spawn('ffmpeg', ['-v', 'error', '-re', '-f', 'lavfi', '-i', 'testsrc2=size=640x360:rate=30', ...(audio ? ['-f', 'lavfi', '-i', 'sine'] : []), '-c:v', 'libx264', '-preset', 'ultrafast',
      '-tune', 'zerolatency', '-pix_fmt', 'yuv420p', '-g', '30', '-c:a', 'aac', '-f', 'flv', `rtmp://${new URL(base).hostname}:${port}/${name}`], { stdio: 'ignore' });
  };
  const stop = async () => {
    if (mock) { await mock.change(`stop?stream=${STREAM}`); return; }
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGINT');
    await gone;
  };
  if (!mock) { await start(); t.after(stop); await sleep(2500); }
  return { name, start, stop };
}

describe('watching', () => {
  test('a click on a card plays with audio, near the live edge, and shows the delay', async (t) => {
    const page = await open(t, '#/');
    const card = page.getByRole('link', { name: STREAM, exact: true });
    await card.waitFor(SHORT);
    const began = performance.now();
    await card.click();
    await plays(page);
    const took = performance.now() - began;
    t.diagnostic(`first frame after ${Math.round(took)} ms`);
    assert.ok(took < 3000, `${took} ms`);
    const first = await played(page);
    await sleep(3000);
    const second = await played(page);
    assert.ok(second.time - first.time > 1.5, `${second.time} after ${first.time}`);
    assert.ok(second.frames - first.frames > 20, `${second.frames} after ${first.frames}`);
    assert.equal(second.muted, false);
    const latency = Number.parseFloat(await page.locator('.latency').innerText());
    t.diagnostic(`${latency} s behind`);
    assert.ok(latency >= 0 && latency < 2, `${latency} s`);
  });

  test('a player that fell behind returns to the live edge at once', async (t) => {
    const page = await open(t, watch(STREAM));
    await state(page, 'playing');
    await sleep(5000);
    const behind = () => page.evaluate(() => {
      const video = document.querySelector('.stage video');
      return video.buffered.end(video.buffered.length - 1) - video.currentTime;
    });
    await page.evaluate(() => {
      const video = document.querySelector('.stage video');
      video.currentTime = video.buffered.start(0) + 0.1;
    });
    assert.ok(await behind() > 3);
    await sleep(1500);
    assert.ok(await behind() < 1.5);
  });

  test('a card shows a still of its stream', async (t) => {
    const page = await open(t, '#/');
    const canvas = page.locator('.card', { has: page.getByRole('link', { name: STREAM, exact: true }) }).locator('canvas');
    await canvas.waitFor(SHORT);
    const colours = await canvas.evaluate((element) => {
      const { data } = element.getContext('2d').getImageData(0, 0, element.width, element.height);
      const seen = new Set();
      for (let at = 0; at < data.length; at += 4 * 97) seen.add(data[at] >> 4 << 8 | data[at + 1] >> 4 << 4 | data[at + 2] >> 4);
      return seen.size;
    });
    assert.ok(colours > 3, `${colours} colours`);
  });

  test('a player whose stream ends waits, and plays again when the encoder is back', async (t) => {
    const { name, start, stop } = await encoder(t);
    const page = await open(t, watch(name), { allow: [/40[04]/] });
    await plays(page);
    await state(page, 'playing');
    await stop();
    await page.getByText('Waiting for the encoder').or(page.getByText('Not live')).waitFor({ timeout: 15000 });
    await sleep(1500);
    await start();
    await page.locator('.stage[data-state=playing]').waitFor({ timeout: 15000 });
    const first = await played(page);
    await sleep(1500);
    assert.ok((await played(page)).time - first.time > 0.7);
  });

  test('the player waits for an encoder that falls silent, and keeps its last frame', { skip: !mockOnly() }, async (t) => {
    const page = await open(t, watch(STREAM));
    await state(page, 'playing');
    await mock.change(`hold?stream=${STREAM}`);
    t.after(() => mock.change(`hold?stream=${STREAM}&on=0`));
    await page.getByText('Waiting for the encoder').waitFor({ timeout: 6000 });
    await mock.change(`hold?stream=${STREAM}&on=0`);
    await state(page, 'playing');
    await page.waitForFunction(() => Number.parseFloat(document.querySelector('.latency').textContent) < 1.5, null, SHORT);
  });

  test('eight tabs play and show the status, and the API still answers each of them within a second', async (t) => {
    const first = await open(t, watch(STREAM));
    const pages = [first];
    while (pages.length < 8) {
      const page = await first.context().newPage();
      pages.push(page);
      await page.goto(new URL(watch(STREAM), base).href);
    }
    await Promise.all(pages.map((page) => plays(page, 20000)));
    const answers = async (page) => {
      const ms = await page.evaluate(async () => {
        const began = performance.now();
        await (await fetch('api/v1/summary', { cache: 'no-store', signal: AbortSignal.timeout(4000) })).json();
        return performance.now() - began;
      });
      assert.ok(ms < 1000, `${ms} ms`);
    };
    for (const page of pages) await answers(page);
    for (const page of pages) await page.goto(new URL(OPERATE, base).href);
    for (const page of pages) {
      await page.locator('.log li').first().waitFor({ ...SHORT, state: 'attached' });
      await answers(page);
    }
  });

  test('without WebSocket, only as many of eight tabs play as leave connections for the API; those that are seen go first', async (t) => {
    const first = await open(t, 'about:blank', { allow: [/ERR_ABORTED/, /WebSocket connection/] });
    const context = first.context();
    // A real proxy in front of the relay does so by itself.
    if (!process.env.FANFARE_PROXY) await context.routeWebSocket(/\.flv$/, (socket) => socket.close());
    const pages = await Promise.all([first, ...Array.from({ length: 7 }, () => context.newPage())]);
    for (const page of pages) await page.goto(new URL(watch(STREAM), base).href);
    const states = () => Promise.all(pages.map((page) => page.locator('.stage').getAttribute('data-state')));
    /** Waits until this is so, then asks the API from each tab. */
    const settle = async (isSo) => {
      for (let tries = 0; ; tries += 1) {
        const seen = await states();
        if (seen.filter((each) => each === 'playing').length === 4 && seen.every((each) => ['playing', 'crowded'].includes(each)) && isSo(seen)) break;
        assert.ok(tries < 80, `${seen}`);
        await sleep(250);
      }
      for (const page of pages) {
        const ms = await page.evaluate(async () => {
          const began = performance.now();
          await (await fetch('api/v1/summary', { cache: 'no-store', signal: AbortSignal.timeout(4000) })).json();
          return performance.now() - began;
        });
        assert.ok(ms < 1000, `${ms} ms`);
      }
    };
    await settle(() => true);
    const before = await states();
    await pages[before.indexOf('crowded')].getByText('Too many tabs play at once').waitFor(SHORT);
    for (const page of pages.filter((_, at) => before[at] === 'playing')) {
      await page.evaluate(() => {
        document.querySelector('.stage video').muted = false;
        Object.defineProperty(document, 'hidden', { value: true, configurable: true });
      });
    }
    await settle((seen) => seen.every((each, at) => each !== before[at]));
    await pages.splice(before.indexOf('crowded'), 1)[0].close();
    await settle(() => true);
  });

  test('media comes over WebSocket, and as an HTTP body only where WebSocket fails', async (t) => {
    const bodies = [];
    const count = (p) => p.on('request', (request) => { if (/^http.*(?<!still)\.flv$/.test(request.url())) bodies.push(request.url()); });
    const page = await open(t, watch(STREAM), { prepare: async (p) => { count(p); } });
    await plays(page);
    assert.deepEqual(bodies, []);
    const other = await open(t, watch(STREAM), { prepare: async (p) => { count(p); await p.routeWebSocket(/\.flv$/, (socket) => socket.close()); } });
    await plays(other, 8000);
    const first = await played(other);
    await sleep(1500);
    assert.ok((await played(other)).time - first.time > 0.7);
    assert.ok(bodies.length > 0);
  });

  test('where WebSocket fails, a muted tab in the background gives its connection back', async (t) => {
    const page = await open(t, watch(STREAM), { allow: [/ERR_ABORTED/], prepare: (p) => p.routeWebSocket(/\.flv$/, (socket) => socket.close()) });
    await plays(page, 8000);
    const hide = (hidden) => page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { value, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
    await page.evaluate(() => { document.querySelector('.stage video').muted = true; });
    await hide(true);
    await page.waitForFunction(() => !document.querySelector('.stage canvas').hidden && !document.querySelector('.stage video').buffered.length, null, SHORT);
    await hide(false);
    await plays(page, 8000);
  });

  test('the delay is measured against the newest frame at the relay, not against the newest received', { skip: !mockOnly() }, async (t) => {
    const page = await open(t, watch(STREAM));
    await state(page, 'playing');
    await sleep(1000);
    const latency = async () => Number.parseFloat(await page.locator('.latency').innerText());
    assert.ok(await latency() < 1.5, `${await latency()} s`);
    await mock.change(`delay?stream=${STREAM}&ms=3000`);
    t.after(() => mock.change(`delay?stream=${STREAM}&ms=0`));
    await page.locator('.stage[data-state=buffering]').waitFor(SHORT);
    await state(page, 'playing');
    await sleep(1500);
    assert.ok(await latency() > 3 && await latency() < 5.5, `${await latency()} s`);
  });

  test('a line that stalls is buffering, not a silent encoder', { skip: !mockOnly() }, async (t) => {
    const page = await open(t, watch(STREAM));
    await state(page, 'playing');
    await mock.change(`delay?stream=${STREAM}&ms=100000`);
    t.after(() => mock.change(`delay?stream=${STREAM}&ms=0`));
    await page.getByText('Buffering').waitFor({ timeout: 6000 });
    await page.evaluate(() => {
      globalThis.messages = [];
      new MutationObserver(() => globalThis.messages.push(document.querySelector('.message').textContent)).observe(document.querySelector('.veil'), { subtree: true, childList: true, characterData: true });
    });
    await sleep(3000);
    await mock.change(`delay?stream=${STREAM}&ms=0`);
    await page.locator('.stage[data-state=playing]').waitFor({ timeout: 15000 });
    assert.deepEqual((await page.evaluate(() => globalThis.messages)).filter((text) => text.includes('encoder')), []);
  });

  test('a player that the relay ends plays again by itself, after a while', { skip: !mockOnly() }, async (t) => {
    const page = await open(t, watch(STREAM));
    await state(page, 'playing');
    await mock.change(`end?stream=${STREAM}`);
    await page.getByText('The relay ended this connection').waitFor(SHORT);
    await page.locator('.stage[data-state=playing]').waitFor({ timeout: 15000 });
    const first = await played(page);
    await sleep(1500);
    assert.ok((await played(page)).time - first.time > 0.7);
  });

  for (const way of ['HTTP', 'WebSocket']) {
    test(`a player that is ended for an encoder that came back with other tracks plays again at once: ${way}`, { skip: !mockOnly() }, async (t) => {
      const page = await open(t, watch(STREAM), { allow: [/ERR_FAILED/], prepare: (p) => (way === 'WebSocket' ? null : p.routeWebSocket(/\.flv$/, (socket) => socket.close())) });
      await plays(page, 10000);
      await state(page, 'playing');
      await mock.change(`start?stream=${STREAM}`);
      await sleep(2000);
      await page.evaluate(() => { globalThis.before = document.querySelector('.stage video').src; });
      await mock.change(`end?stream=${STREAM}`);
      const began = performance.now();
      await page.waitForFunction(() => document.querySelector('.stage video').src !== globalThis.before, null, SHORT);
      await plays(page);
      await state(page, 'playing');
      const took = performance.now() - began;
      assert.ok(took < 5000, `${took} ms`);
    });
  }

  test('an encoder that returns without audio, and then with it, is shown correctly each time', { skip: mockOnly() }, async (t) => {
    const { name, start, stop } = await encoder(t);
    const page = await open(t, watch(name), { allow: [/40[04]/] });
    await plays(page);
    await state(page, 'playing');
    for (const audio of [false, true]) {
      await stop();
      await start({ audio });
      await page.getByText(audio ? /^AAC/ : /^H\.264/).first().waitFor(SHORT);
      await page.waitForFunction((wanted) => [...document.querySelectorAll('.facts dt')].some((dt) => dt.textContent === 'Audio') === wanted, audio, { timeout: 15000 });
      // However long the reconnect took, playback must be steady afterwards.
      let before = (await played(page)).time;
      let steady = 0;
      for (let tries = 0; steady < 3; tries += 1) {
        assert.ok(tries < 25, 'playback is stalled');
        await sleep(1000);
        const { time } = await played(page);
        steady = time > before + 0.5 && time < before + 3 ? steady + 1 : 0;
        before = time;
      }
      const first = await page.evaluate(() => document.querySelector('.stage video').webkitAudioDecodedByteCount);
      if (audio) await page.waitForFunction((count) => document.querySelector('.stage video').webkitAudioDecodedByteCount > count, first, SHORT);
    }
  });

  test('at 2^31 ms, where FLV timestamps become negative, the player reconnects', { skip: !mockOnly() }, async (t) => {
    t.after(() => mock.change(`times?stream=${STREAM}&from=`));
    await mock.change(`times?stream=${STREAM}&from=${2 ** 31 - 9000}`);
    await sleep(2500);
    const page = await open(t, watch(STREAM));
    await state(page, 'playing');
    await sleep(9000);
    // Timestamps have passed 2^31 by now, and the player has had time to notice.
    await page.waitForFunction(() => document.querySelector('.stage').dataset.state === 'playing', null, { timeout: 20000 });
    const first = await played(page);
    await sleep(4000);
    assert.ok((await played(page)).time - first.time > 2.5, `${(await played(page)).time} after ${first.time}`);
  });

  test('a stream with several tracks is shown as such', async (t) => {
    const page = await open(t, watch(STREAM), { prepare: (p) => p.route(api(`streams/${STREAM}`), async (route) => {
      const response = await route.fetch();
      await route.fulfill(json({ ...await response.json(), video_tracks: 3, audio_tracks: 1 }));
    }) });
    await page.getByText('This stream has 3 video tracks and 1 audio track.').waitFor(SHORT);
    const one = await open(t, watch(STREAM), { prepare: (p) => p.route(api(`streams/${STREAM}`), async (route) => {
      const response = await route.fetch();
      await route.fulfill(json({ ...await response.json(), video_tracks: 1, audio_tracks: 1 }));
    }) });
    await state(one, 'playing');
    assert.equal(await one.getByText('This stream has').isVisible(), false);
  });

  test('if this page cannot play a stream of several tracks, it says how many there are', async (t) => {
    const page = await open(t, watch(STREAM), { prepare: (p) => p.route(api(`streams/${STREAM}`), async (route) => {
      const stream = await (await route.fetch()).json();
      await route.fulfill(json({ ...stream, video: { ...stream.video, codec: 'HEVC', codec_string: 'hvc1.2.4.L153.B0' }, video_tracks: 2 }));
    }) });
    await page.getByText('The stream has 2 video tracks').waitFor(SHORT);
  });

  test('a stream without a publisher is shown as not live', async (t) => {
    const page = await open(t, '#/watch/live/no%20encoder', { allow: [/40[04]/] });
    await page.getByText('Not live').waitFor(SHORT);
    assert.equal(await page.getByRole('heading', { level: 1 }).innerText(), 'live/no encoder');
  });

  test('without a click on the page there is no audio; then it is on, and the browser remembers', async (t) => {
    const page = await open(t, watch(STREAM));
    await state(page, 'playing');
    assert.equal((await played(page)).muted, true);
    await page.getByRole('button', { name: 'Turn audio on' }).waitFor(SHORT);
    await page.locator('.stage').click({ position: { x: 40, y: 40 } });
    assert.equal((await played(page)).muted, false);
    await page.getByRole('button', { name: 'Turn audio on' }).waitFor({ ...SHORT, state: 'hidden' });
    const next = await page.context().newPage();
    await next.goto(new URL('#/', base).href);
    await next.getByRole('link', { name: STREAM, exact: true }).click();
    await state(next, 'playing');
    assert.equal((await played(next)).muted, false);
    await next.keyboard.press('m');
    await next.reload();
    await state(next, 'playing');
    assert.equal((await played(next)).muted, true);
    assert.equal(await next.getByRole('button', { name: 'Turn audio on' }).isVisible(), false, 'the user turned it off');
  });

  test('a stream without audio, or with audio that this browser cannot decode, has no buttons for it', async (t) => {
    for (const audio of [null, { codec: 'Speex', codec_string: null, sample_rate_hz: 16000, channels: 1 }]) {
      const page = await open(t, watch(STREAM), { prepare: (p) => p.route(api(`streams/${STREAM}`), async (route) => {
        await route.fulfill(json({ ...await (await route.fetch()).json(), audio }));
      }) });
      await state(page, 'playing');
      await page.getByRole('button', { name: 'Pause' }).waitFor(SHORT);
      for (const name of ['Unmute', 'Turn audio on']) assert.equal(await page.getByRole('button', { name }).isVisible(), false, name);
      assert.equal(await page.getByLabel('Volume').isVisible(), false);
    }
  });

  test('a stream without video has its controls and a level', { skip: !mockOnly() }, async (t) => {
    const page = await open(t, '#/');
    await page.getByRole('link', { name: 'radio/evening', exact: true }).click();
    await state(page, 'playing');
    const level = page.getByRole('meter', { name: 'Audio level' });
    await page.waitForFunction(() => Number(document.querySelector('.level').getAttribute('aria-valuenow')) > -40, null, SHORT);
    await sleep(3500);
    assert.equal(await page.locator('.controls').evaluate((element) => getComputedStyle(element).opacity), '1', 'they do not fade');
    await page.getByRole('button', { name: 'Mute', exact: true }).click();
    await level.waitFor({ ...SHORT, state: 'hidden' });
  });

  test('mute, pause and full screen work by button and by key', async (t) => {
    const page = await open(t, watch(STREAM));
    await state(page, 'playing');
    await page.getByRole('button', { name: 'Unmute' }).click();
    assert.equal((await played(page)).muted, false);
    await page.keyboard.press('m');
    assert.equal((await played(page)).muted, true);
    await page.locator('h1').click();
    await page.keyboard.press(' ');
    await state(page, 'paused');
    await page.getByRole('button', { name: 'Play', exact: true }).first().click();
    await state(page, 'playing');
    await page.keyboard.press('f');
    await page.waitForFunction(() => document.fullscreenElement?.classList.contains('stage'), null, SHORT);
    await page.keyboard.press('f');
    await page.waitForFunction(() => !document.fullscreenElement, null, SHORT);
  });

  test('addresses are copied in the form that other programs accept', async (t) => {
    const page = await open(t, watch(STREAM), { permissions: ['clipboard-read', 'clipboard-write'] });
    const { hostname, origin } = new URL(base);
    const port = summary.listen.rtmp[0].split(':').at(-1);
    const rtmp = `rtmp://${hostname}${port === '1935' ? '' : `:${port}`}/${STREAM}`;
    await page.getByText(rtmp, { exact: true }).waitFor(SHORT);
    for (const [label, expected] of [['RTMP', rtmp], ['HTTP-FLV', `${origin}/${STREAM}.flv`], ['VLC', `vlc ${rtmp}`]]) {
      await page.getByRole('button', { name: `Copy ${label}`, exact: true }).click();
      await page.waitForFunction((text) => navigator.clipboard.readText().then((copied) => copied === text), expected, SHORT);
    }
  });

  test('encrypted addresses come first where the relay has them, and VLC gets one that it can open', async (t) => {
    const { hostname } = new URL(base);
    const listen = { ...summary.listen, rtmps: ['0.0.0.0:1936', '[::]:1936'], https: ['0.0.0.0:443'] };
    const page = await open(t, watch(STREAM), { prepare: (p) => p.route(api('summary'), (route) => route.fulfill(json({ ...summary, listen }))) });
    await page.getByText(`rtmps://${hostname}:1936/${STREAM}`, { exact: true }).waitFor(SHORT);
    const lines = await page.locator('aside .address:visible').allInnerTexts();
    const labels = lines.map((line) => line.split(/\s/)[0]);
    assert.deepEqual(labels, ['RTMPS', 'HTTP-FLV', 'RTMP', 'VLC']);
    assert.ok(lines[1].includes(`https://${hostname}/${STREAM}.flv`), lines[1]);
    assert.ok(lines[3].includes(`vlc https://${hostname}/${STREAM}.flv`), lines[3]);
  });

  /** Lets only players with this key watch the stream, until the test is over. */
  async function deny(t, status, reason, key = 'right') {
    await mock.change(`deny?${new URLSearchParams({ stream: STREAM, status, reason, key })}`);
    t.after(() => mock.change(`deny?stream=${STREAM}&status=0`));
  }

  for (const [status, hash, said] of [
    [401, watch(STREAM), 'You need a link or a key to watch this stream'],
    [401, `?key=wrong${watch(STREAM)}`, 'Your link or key does not open this stream'],
    [403, watch(STREAM), 'You may not watch this stream'],
  ]) {
    for (const websocket of [true, false]) {
      test(`a viewer that is denied with ${status} reads why, once: ${said}, ${websocket ? 'WebSocket' : 'HTTP'}`, { skip: !mockOnly() }, async (t) => {
        await deny(t, status, 'this stream takes a key');
        const asked = [];
        const page = await open(t, hash, { allow: [new RegExp(`status of ${status}`), /WebSocket/], prepare: (p) => {
          p.on('websocket', (socket) => asked.push(socket.url()));
          p.on('request', (request) => { if (/\.flv/.test(request.url()) && !/still/.test(request.url())) asked.push(request.url()); });
          return websocket ? null : p.addInitScript(() => { delete globalThis.WebSocket; globalThis.WebSocket = class { constructor() { setTimeout(() => this.onclose({ code: 1006, reason: '' })); } close() {} }; });
        } });
        await page.getByText(said).waitFor(SHORT);
        await page.getByText('The relay says: this stream takes a key.').waitFor(SHORT);
        await sleep(2500);
        assert.equal(asked.length, 1, 'it does not ask again by itself');
        await deny(t, status, 'it was changed');
        await page.getByRole('button', { name: 'Try again' }).click();
        await page.getByText('The relay says: it was changed.').waitFor(SHORT);
        assert.equal(await page.getByText('Buffering').isVisible(), false);
      });
    }
  }

  test('the key in the page’s address opens the stream, and is copied only if the viewer wants that', { skip: !mockOnly() }, async (t) => {
    await deny(t, 401, 'this stream takes a key');
    const page = await open(t, `?key=right&other=1${watch(STREAM)}`, { permissions: ['clipboard-read', 'clipboard-write'] });
    await plays(page);
    const { origin } = new URL(base);
    const copied = async (expected) => {
      await page.getByRole('button', { name: 'Copy HTTP-FLV' }).click();
      await page.waitForFunction((text) => navigator.clipboard.readText().then((copied) => copied === text), expected, SHORT);
    };
    await copied(`${origin}/${STREAM}.flv`);
    assert.equal(await page.locator('svg.qr').getAttribute('aria-label'), `QR code: ${origin}/${watch(STREAM)}`);
    await page.getByLabel('With my link or key').check();
    await copied(`${origin}/${STREAM}.flv?key=right`);
    assert.equal(await page.locator('svg.qr').getAttribute('aria-label'), `QR code: ${origin}/?key=right${watch(STREAM)}`);
    await page.getByLabel('With my link or key').uncheck();
    await copied(`${origin}/${STREAM}.flv`);
  });

  test('a stream may be named in the page’s address, beside its key', { skip: !mockOnly() }, async (t) => {
    await deny(t, 401, 'this stream takes a key');
    const page = await open(t, `?stream=${STREAM}&key=right`);
    await plays(page);
    assert.equal(page.url(), new URL(`?key=right${watch(STREAM)}`, base).href);
  });

  test('without a key there is no choice to copy it', async (t) => {
    const page = await open(t, watch(STREAM));
    await page.getByRole('button', { name: 'Copy HTTP-FLV' }).waitFor(SHORT);
    assert.equal(await page.getByText('With my link or key').isVisible(), false);
  });

  test('copying works without the clipboard API, as over plain HTTP', async (t) => {
    const page = await open(t, watch(STREAM), { permissions: ['clipboard-read', 'clipboard-write'], prepare: (p) => p.addInitScript(() => {
      Clipboard.prototype.writeText = () => Promise.reject(new Error('not available'));
    }) });
    const button = page.getByRole('button', { name: 'Copy HTTP-FLV' });
    await button.click();
    assert.equal(await button.innerText(), 'Copied');
    await page.waitForFunction(() => navigator.clipboard.readText().then((copied) => copied.endsWith('.flv')), null, SHORT);
  });

  test('the QR code leads to this page', async (t) => {
    const page = await open(t, watch(STREAM));
    const { data, side } = await page.locator('svg.qr').evaluate(async (element) => {
      const side = 400;
      const copy = element.cloneNode(true);
      copy.setAttribute('width', side);
      copy.setAttribute('height', side);
      const image = new Image();
      image.src = `data:image/svg+xml,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
      await image.decode();
      const canvas = Object.assign(document.createElement('canvas'), { width: side, height: side });
      canvas.getContext('2d').drawImage(image, 0, 0, side, side);
      return { data: [...canvas.getContext('2d').getImageData(0, 0, side, side).data], side };
    });
    assert.equal(jsqr(Uint8ClampedArray.from(data), side, side)?.data, new URL(watch(STREAM), base).href);
  });

  const withTracks = (tracks) => (p) => p.route(api(`streams/${STREAM}`), async (route) => {
    await route.fulfill(json({ ...await (await route.fetch()).json(), ...tracks }));
  });
  const HEVC = { codec: 'HEVC', codec_string: 'hvc1.2.4.L153.B0' };
  for (const [tracks, said, hint] of [
    [{ video: HEVC }, 'This browser cannot decode HEVC', 'FFmpeg 6.1'],
    [{ video: { codec: 'AV1', codec_string: 'av01.0.08M.08' } }, 'This page cannot play AV1', 'FFmpeg 6.1'],
    [{ video: { codec: 'VP9', codec_string: 'vp09.00.31.08' }, audio: { codec: 'Opus', codec_string: 'opus' } }, 'This page cannot play VP9', 'FFmpeg 8.0'],
    [{ video: { codec: 'VP6', codec_string: null } }, 'This page cannot play VP6', 'Try one of the addresses in ffplay, mpv or VLC'],
    [{ video: null, audio: { codec: 'Speex', codec_string: null } }, 'This page cannot play Speex', 'ffplay'],
  ]) {
    test(`what cannot be played is named at once, with players that can: ${said}`, async (t) => {
      const page = await open(t, watch(STREAM), { prepare: withTracks(tracks) });
      await page.getByText(said).waitFor(SHORT);
      await page.getByText(hint).first().waitFor(SHORT);
      assert.equal(await page.getByRole('button', { name: 'Copy VLC' }).isVisible(), !hint.startsWith('FFmpeg'));
      assert.equal(await page.getByText('Buffering').isVisible(), false);
    });
  }

  test('a stream that arrives and cannot be decoded is not called buffering', { skip: !mockOnly() }, async (t) => {
    await mock.change(`scramble?stream=${STREAM}`);
    t.after(() => mock.change(`scramble?stream=${STREAM}&on=0`));
    await sleep(2500);
    const page = await open(t, watch(STREAM), { prepare: (p) => p.addInitScript(() => {
      globalThis.messages = [];
      addEventListener('DOMContentLoaded', () => new MutationObserver(() => globalThis.messages.push(document.querySelector('.message')?.textContent)).observe(document.body, { subtree: true, childList: true, characterData: true }));
    }) });
    await page.getByText('This browser shows no frame of this stream').waitFor({ timeout: 15000 });
    const messages = new Set(await page.evaluate(() => globalThis.messages));
    assert.deepEqual([...messages].filter((text) => /Buffering|failed/.test(text ?? '')), []);
    await mock.change(`scramble?stream=${STREAM}&on=0`);
    await sleep(2500);
    await page.getByRole('button', { name: 'Try again' }).click();
    await state(page, 'playing');
  });

  test('without Media Source Extensions the page says so and suggests other players', async (t) => {
    const page = await open(t, watch(STREAM), { prepare: (p) => p.addInitScript(() => {
      for (const name of ['MediaSource', 'ManagedMediaSource', 'WebKitMediaSource']) delete window[name];
    }) });
    await page.getByText('This browser cannot play live streams').waitFor(SHORT);
    await page.getByText(`/${STREAM}`).first().waitFor(SHORT);
    await page.goto(new URL('#/', base).href);
    await page.getByText('has no Media Source Extensions').waitFor(SHORT);
  });
});

describe('operating', () => {
  test('the status view shows an operator plots, cores, publishers, players and events', async (t) => {
    const page = await open(t, OPERATE);
    assert.ok(!page.url().includes(TOKEN), 'the token is removed from the address');
    await page.waitForFunction(() => [...document.querySelectorAll('.plot path')].every((path) => path.getAttribute('d')?.length > 10), null, SHORT);
    await page.getByRole('row', { name: /Core 0/ }).waitFor(SHORT);
    await page.getByRole('table', { name: 'Publishers' }).getByRole('link', { name: STREAM, exact: true }).waitFor(SHORT);
    await page.locator('.log li', { hasText: 'publishing' }).first().waitFor(SHORT);
    for (const fact of ['Skips', 'Drops', 'Memory', 'Open files']) await page.getByText(fact, { exact: true }).first().waitFor(SHORT);
  });

  test('kick asks for confirmation, then ends that player, which reconnects after a while', async (t) => {
    const watcher = await open(t, watch(STREAM));
    await state(watcher, 'playing');
    const { players } = await (await fetch(new URL(`api/v1/players?limit=1000&stream=${encodeURIComponent(STREAM)}`, base), { headers: { Authorization: `Bearer ${TOKEN}` } })).json();
    const { peer: address } = players.filter((player) => player.protocol === 'websocket_flv').at(-1);
    const page = await open(t, OPERATE);
    const deleted = [];
    page.on('response', (response) => { if (response.request().method() === 'DELETE') deleted.push(response.status()); });
    await page.locator('#filter').selectOption(STREAM);
    const button = page.getByRole('button', { name: `Kick ${address}, ${STREAM}` });
    await button.click();
    await page.getByRole('dialog').waitFor(SHORT);
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ ...SHORT, state: 'detached' });
    assert.deepEqual(deleted, []);
    assert.equal(await button.evaluate((element) => element === document.activeElement), true, 'focus returns to the button');
    await button.click();
    await page.getByRole('dialog').getByRole('button', { name: 'Kick' }).click();
    await page.getByText(`${address} was kicked.`).first().waitFor(SHORT);
    assert.deepEqual(deleted, [204]);
    await button.waitFor({ ...SHORT, state: 'detached' });
    await watcher.getByText('The relay ended this connection').waitFor(SHORT);
    await watcher.locator('.stage[data-state=playing]').waitFor({ timeout: 15000 });
  });

  test('the events go on after the relay has restarted, and none is shown twice', { skip: !mockOnly() }, async (t) => {
    const page = await open(t, OPERATE);
    await page.locator('.log li', { hasText: 'publishing' }).first().waitFor(SHORT);
    const lines = () => page.locator('.log li').count();
    const before = await lines();
    await sleep(4500);
    assert.equal(await lines(), before, 'nothing happened');
    await mock.change('restart');
    await page.locator('.log li', { hasText: 'live/after restart' }).waitFor(SHORT);
    assert.equal(await lines(), before + 1);
  });

  test('drop asks for a token if the relay requires one, and keeps it for the tab', async (t) => {
    const given = [];
    const page = await open(t, OPERATE, { allow: [/401/], prepare: (p) => p.route(/\/api\/v1\/publishers\/\d+$/, (route) => {
      given.push(route.request().headers().authorization);
      return given.at(-1) === 'Bearer s3cret' ? route.fulfill({ status: 204 }) : route.fulfill(json({ detail: 'no' }, 401));
    }) });
    await page.getByRole('button', { name: /^Drop .*/ }).first().click();
    await page.getByRole('dialog').getByRole('button', { name: 'Drop' }).click();
    const token = page.getByLabel('Token', { exact: true });
    await token.fill('wrong');
    await token.press('Enter');
    await page.getByRole('dialog').getByText('The relay does not know this token.').waitFor(SHORT);
    await token.fill('s3cret');
    await token.press('Enter');
    await page.getByText('was dropped.').first().waitFor(SHORT);
    assert.deepEqual(given, [`Bearer ${TOKEN}`, 'Bearer wrong', 'Bearer s3cret']);
    assert.equal(await page.evaluate(() => sessionStorage.getItem('fanfare.token')), 's3cret');
  });

  test('with a token that may only read, no button ends connections', async (t) => {
    const page = await open(t, OPERATE, { prepare: (p) => p.route(api('summary'), async (route) => route.fulfill(json({ ...await (await route.fetch()).json(), may_write: false }))) });
    await page.getByRole('table', { name: 'Players' }).waitFor(SHORT);
    await page.locator('.log li').first().waitFor(SHORT);
    assert.equal(await page.getByRole('button', { name: /^(Drop|Kick) / }).count(), 0);
    await page.getByRole('button', { name: 'Enter token' }).waitFor(SHORT);
  });

  test('the token dialog says that a token may only read, and that another one is unknown', async (t) => {
    const page = await open(t, OPERATE, { allow: [/40[13]/], prepare: async (p) => {
      await p.route(api('summary'), async (route) => {
        const given = route.request().headers().authorization;
        const rights = given === 'Bearer reader' ? { may_read: true, may_write: false } : given === 'Bearer stranger' ? { may_read: false, may_write: false } : {};
        await route.fulfill(json({ ...await (await route.fetch()).json(), ...rights }));
      });
      await p.route(api('(players|events/past)'), async (route) => {
        const given = route.request().headers().authorization;
        if (given === 'Bearer stranger') await route.fulfill(json({ detail: 'no' }, 401));
        else await route.continue({ headers: { ...route.request().headers(), authorization: `Bearer ${TOKEN}` } });
      });
      await p.route(/\/api\/v1\/publishers\/\d+$/, (route) => route.fulfill(json({ detail: 'this token may only read' }, 403)));
    } });
    // The relay's answer to an action, as for a token whose rights changed.
    await page.getByRole('button', { name: /^Drop .*/ }).first().click();
    await page.getByRole('dialog').getByRole('button', { name: 'Drop' }).click();
    await page.getByRole('dialog').getByText('This token may read and nothing else.').waitFor(SHORT);
    await page.keyboard.press('Escape');
    await page.getByText('Nothing was ended').first().waitFor(SHORT);
    for (const [token, problem] of [['reader', 'This token may read and nothing else.'], ['stranger', 'The relay does not know this token.']]) {
      await page.evaluate((value) => sessionStorage.setItem('fanfare.token', value), token);
      await page.reload();
      await page.getByRole('button', { name: 'Enter token' }).click();
      await page.getByRole('dialog').getByText(problem).waitFor(SHORT);
      await page.keyboard.press('Escape');
    }
  });

  test('publishers and players have the name of their program and a bitrate', async (t) => {
    const page = await open(t, OPERATE);
    await page.getByRole('table', { name: 'Publishers' }).getByRole('row', { name: new RegExp(`${STREAM} .*Lavf.* [MkG]bit/s`) }).first().waitFor(SHORT);
    const player = await open(t, watch(STREAM));
    await state(player, 'playing');
    const row = page.getByRole('table', { name: 'Players' }).getByRole('row', { name: /Chrome \d+ WebSocket .* [Mk]bit\/s/ });
    await page.locator('#filter').selectOption(STREAM);
    await row.first().waitFor(SHORT);
    assert.match(await row.first().locator('.client').getAttribute('title'), /^Mozilla\/5\.0 /);
  });

  test('the status view shows a viewer totals but no addresses, until a token is entered', async (t) => {
    const page = await open(t, '#/status', { allow: [/401/] });
    await page.getByRole('row', { name: /Core 0/ }).waitFor(SHORT);
    await page.getByText('Addresses, players and events are for operators only.').waitFor(SHORT);
    const row = page.getByRole('table', { name: 'Publishers' }).getByRole('row', { name: STREAM });
    await row.waitFor(SHORT);
    assert.ok(!/\d+\.\d+\.\d+\.\d+|\[::/.test(await page.locator('main').innerText()), 'no address');
    for (const heading of ['Players', 'Events']) assert.equal(await page.getByRole('heading', { name: heading, exact: true, level: 2 }).isVisible(), false, heading);
    assert.equal(await page.getByRole('button', { name: /^Drop / }).count(), 0);
    assert.equal(await page.getByRole('dialog').count(), 0, 'viewers are not asked for a token');
    for (const [given, shown] of [['wrong-token', 'The relay does not know this token.'], [TOKEN, 'publishing']]) {
      await page.getByRole('button', { name: 'Enter token' }).click();
      const token = page.getByLabel('Token', { exact: true });
      await token.fill(given);
      await token.press('Enter');
      await page.getByText(shown).first().waitFor(SHORT);
    }
    await page.getByRole('heading', { name: 'Players', exact: true, level: 2 }).waitFor(SHORT);
    await page.getByRole('button', { name: /^Drop / }).first().waitFor(SHORT);
  });

  test('if the API is locked or on another address, viewers still see and play streams', async (t) => {
    for (const [has_api, status] of [[true, 401], [false, 404]]) {
      const page = await open(t, '#/', { allow: [/40[14]/], prepare: async (p) => {
        await p.route(/\/api\/v1\/(?!summary|streams)/, (route) => route.fulfill(json({ detail: 'not here' }, status)));
        await p.route(api('summary'), async (route) => route.fulfill(json({ ...await (await route.fetch()).json(), has_api })));
      } });
      const card = page.getByRole('link', { name: STREAM, exact: true });
      await card.waitFor(SHORT);
      await page.locator('.card canvas:visible').first().waitFor(SHORT);
      await card.click();
      await plays(page, 8000);
      await page.getByText(`vlc rtmp://`).first().waitFor(SHORT);
      await page.goto(new URL('#/status', base).href);
      await page.getByText(has_api ? 'Addresses, players and events are for operators only.' : 'The operator’s view is on a separate address.').waitFor(SHORT);
      assert.equal(await page.locator('#banner').innerText(), '');
      assert.equal(await page.getByRole('link', { name: 'Metrics' }).isVisible(), has_api);
      assert.equal(await page.getByRole('button', { name: 'Enter token' }).isVisible(), has_api);
    }
  });
});

describe('hundreds of streams', () => {
  /** `cams/cam-1` to `cams/cam-300`, as the relay orders them, and one stream of another app. */
  const many = async (p) => p.route(api('streams'), async (route) => {
    const { streams } = await (await route.fetch()).json();
    const one = streams.find((each) => each.name === STREAM);
    const cams = Array.from({ length: 300 }, (_, at) => ({ ...one, name: `cams/cam-${at + 1}`, received_kbps: 1000 + (at * 37) % 300, players: { ...one.players, total: at === 250 ? 999 : at % 9 } }));
    cams.sort((a, b) => (a.name < b.name ? -1 : 1));
    await route.fulfill(json({ streams: [...cams, { ...one, name: 'other/hall' }] }));
  });
  const names = (page) => page.locator('.card h2').allInnerTexts();

  test('they are in natural order, in pages, and can be searched, filtered and sorted', async (t) => {
    const page = await open(t, '#/', { allow: [/404/], prepare: many });
    await page.getByRole('heading', { name: '301 live' }).waitFor(SHORT);
    const first = await names(page);
    assert.equal(first.length, 60);
    assert.deepEqual(first.slice(0, 11), Array.from({ length: 11 }, (_, at) => `cams/cam-${at + 1}`));
    await page.getByRole('button', { name: 'Show 60 more of 301' }).click();
    assert.equal((await names(page)).length, 120);
    await page.getByRole('searchbox', { name: 'Search streams' }).fill('CAM-29');
    assert.deepEqual(await names(page), ['cams/cam-29', ...Array.from({ length: 10 }, (_, at) => `cams/cam-${290 + at}`)]);
    await page.getByText('11 of 301').waitFor(SHORT);
    await page.getByRole('searchbox').fill('no such');
    await page.getByText('No stream matches').waitFor(SHORT);
    await page.getByRole('searchbox').fill('');
    await page.getByLabel('Order').selectOption('Most players');
    assert.equal((await names(page))[0], 'cams/cam-251');
    await page.getByLabel('App').selectOption('other');
    assert.deepEqual(await names(page), ['other/hall']);
    await page.getByRole('link', { name: 'other/hall' }).click();
    await page.getByRole('link', { name: 'Back to all streams' }).click();
    await page.getByText('1 of 301').waitFor(SHORT);
  });

  test('only cards that are seen ask for stills', async (t) => {
    const asked = new Set();
    await open(t, '#/', { allow: [/404/], prepare: async (p) => {
      await many(p);
      await p.route(/still\.flv$/, (route) => { asked.add(route.request().url()); return route.fulfill(json({ detail: 'none' }, 404)); });
    } });
    await sleep(3000);
    assert.ok(asked.size > 0 && asked.size < 25, `${asked.size} stills`);
  });

  test('a stream whose encoder is silent is marked in both lists', async (t) => {
    const silent = async (p) => p.route(api('streams'), async (route) => {
      const { streams } = await (await route.fetch()).json();
      await route.fulfill(json({ streams: streams.map((each) => (each.name === STREAM ? { ...each, idle_ms: 9000 } : each)) }));
    });
    const page = await open(t, '#/', { prepare: silent });
    await page.locator('.card .facts.alarm', { hasText: 'no data for 9 s' }).waitFor(SHORT);
    await page.goto(new URL('#/status', base).href);
    await page.locator('td.alarm', { hasText: 'no data for 9 s' }).waitFor(SHORT);
  });

  test('the status view lists them with what they are, and can be searched', async (t) => {
    const page = await open(t, '#/status', { allow: [/404/], prepare: many });
    const table = page.getByRole('table', { name: 'Streams' });
    await table.getByRole('row', { name: /cams\/cam-2 H\.264 · 640 × 360 .*fps AAC.* Mbit\/s/ }).waitFor(SHORT);
    assert.equal(await table.locator('tbody tr').count(), 20);
    await page.getByRole('searchbox', { name: 'Search streams' }).fill('hall');
    await table.getByRole('row', { name: /other\/hall/ }).waitFor(SHORT);
    assert.equal(await table.locator('tbody tr').count(), 1);
    await table.getByRole('link', { name: 'other/hall' }).click();
    await page.getByRole('heading', { name: 'other/hall', level: 1 }).waitFor(SHORT);
  });
});

describe('small screens', () => {
  test('a phone on its side shows the whole video and its controls', async (t) => {
    const page = await open(t, watch(STREAM), { viewport: { width: 844, height: 390 }, hasTouch: true });
    await state(page, 'playing');
    const { top, bottom } = await page.locator('.stage').evaluate((element) => element.getBoundingClientRect().toJSON());
    assert.ok(top >= 0 && bottom <= 390 && bottom - top > 300, `${top} to ${bottom}`);
  });

  test('no view is wider than a phone on its side', async (t) => {
    const page = await open(t, '#/', { viewport: { width: 844, height: 390 }, hasTouch: true });
    for (const hash of ['#/', watch(STREAM), OPERATE]) {
      await page.goto(new URL(hash, base).href);
      await page.waitForFunction(() => document.body.classList.contains('answered') && document.querySelector('main').textContent.length > 100, null, SHORT);
      if (hash === OPERATE) await page.locator('.log li').first().waitFor(SHORT);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${hash} is ${wide} px too wide`);
    }
  });

  test('on a phone, each value stands beside its label', async (t) => {
    const page = await open(t, OPERATE, { viewport: { width: 390, height: 844 } });
    await page.getByRole('row', { name: /^Core 0/ }).waitFor(SHORT);
    const gaps = await page.locator('td:not(.name, .act, .peer)').evaluateAll((cells) => cells.filter((cell) => cell.firstChild?.nodeType === Node.TEXT_NODE).map((cell) => {
      const range = document.createRange();
      range.selectNodeContents(cell);
      return range.getBoundingClientRect().left - cell.getBoundingClientRect().left;
    }));
    assert.ok(gaps.length > 10 && gaps.every((gap) => gap < 100), gaps.join(' '));
  });
});

describe('unusual situations', () => {
  test('with no live stream, the page explains how to publish, with the right host', async (t) => {
    const page = await open(t, '#/', { prepare: (p) => p.route(api('streams'), (route) => route.fulfill(json({ streams: [] }))) });
    await page.getByRole('heading', { name: 'Nothing is live' }).waitFor(SHORT);
    await page.getByText(new RegExp(`ffmpeg .*rtmp://${new URL(base).hostname}`)).first().waitFor(SHORT);
    await page.getByRole('heading', { name: 'OBS' }).waitFor(SHORT);
  });

  test('if the relay is unreachable, the page says so, retries, and recovers', async (t) => {
    const page = await open(t, '#/', { allow: [/ERR_CONNECTION_REFUSED/] });
    await page.getByRole('link', { name: STREAM, exact: true }).waitFor(SHORT);
    await page.route(/\/api\//, (route) => route.abort('connectionrefused'));
    await page.getByText('does not respond').waitFor(SHORT);
    assert.ok(await page.getByRole('link', { name: STREAM, exact: true }).isVisible(), 'known streams stay visible');
    await page.unroute(/\/api\//);
    await page.getByText('does not respond').waitFor({ ...SHORT, state: 'detached' });
  });

  test('the page says when the relay is shutting down', async (t) => {
    const page = await open(t, '#/', { prepare: (p) => p.route(api('summary'), (route) => route.fulfill(json({ ...summary, is_draining: true }))) });
    await page.getByText('The relay is shutting down').waitFor(SHORT);
  });

  test('a stream name is shown as text, whatever it contains, and its card opens it', async (t) => {
    let name;
    const page = await open(t, '#/status', { allow: [/40[04]/], prepare: (p) => p.route(api('streams'), async (route) => {
      const { streams } = await (await route.fetch()).json();
      const stream = streams.find((each) => each.name === STREAM);
      await route.fulfill(json({ streams: [{ ...stream, name }] }));
    }) });
    for (name of ['odd/<img src=x onerror=alert(1)>/../100% №1 #?&"', 'odd/a%20b 100% #?/"c\'']) {
      await page.goto(new URL('#/', base).href);
      await page.getByRole('link', { name, exact: true }).click();
      await page.getByText('Not live').waitFor(SHORT);
      assert.equal(await page.getByRole('heading', { level: 1 }).innerText(), name);
      assert.equal(await page.locator('main img').count(), 0);
    }
  });
});

describe('accessibility', () => {
  test('the keyboard alone reaches a stream, the player, and the way back', async (t) => {
    const page = await open(t, '#/');
    const card = page.getByRole('link', { name: STREAM, exact: true });
    await card.waitFor(SHORT);
    const focused = () => page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent);
    const tabTo = async (name) => {
      for (let presses = 0; presses < 60; presses += 1) {
        await page.keyboard.press('Tab');
        if (await focused() === name) return;
      }
      assert.fail(`${name} is not reachable`);
    };
    await tabTo('Skip to content');
    await tabTo(STREAM);
    assert.notEqual(await page.locator('.card:focus-within .still').evaluate((element) => getComputedStyle(element).outlineStyle), 'none');
    await page.keyboard.press('Enter');
    await state(page, 'playing');
    await tabTo('Mute');
    await page.keyboard.press(' ');
    assert.equal((await played(page)).muted, true);
    await tabTo('Full screen');
    await tabTo('Metrics');
    await page.keyboard.press('Escape');
    await card.waitFor(SHORT);
    assert.match(page.url(), /#\/$/);
  });

  test('the colour theme follows the system, then the user', async (t) => {
    const page = await open(t, '#/', { colorScheme: 'dark' });
    const theme = () => page.locator('html').getAttribute('data-theme');
    assert.equal(await theme(), 'dark');
    await page.getByRole('button', { name: 'Dark colours' }).click();
    assert.equal(await theme(), 'light');
    await page.reload();
    assert.equal(await theme(), 'light');
    await page.getByRole('button', { name: 'Dark colours' }).click();
    assert.equal(await page.evaluate(() => localStorage.length), 0);
  });

  test('with reduced motion, nothing is animated', async (t) => {
    const page = await open(t, watch(STREAM), { reducedMotion: 'reduce' });
    await state(page, 'playing');
    assert.equal(await page.locator('.dot').evaluate((element) => getComputedStyle(element).animationName), 'none');
  });

  for (const width of [390, 1440]) {
    for (const colorScheme of ['light', 'dark']) {
      test(`axe finds no violation, and nothing is wider than the screen: ${width} px, ${colorScheme}`, async (t) => {
        const page = await open(t, '#/', { viewport: { width, height: 844 }, colorScheme });
        for (const hash of ['#/', watch(STREAM), '#/status', OPERATE]) {
          await page.goto(new URL(hash, base).href);
          await page.waitForFunction(() => document.body.classList.contains('answered') && document.querySelector('main').textContent.length > 100, null, SHORT);
          await sleep(1200);
          // Evaluation through the debugger is not subject to the page's content security policy.
          const session = await page.context().newCDPSession(page);
          await session.send('Runtime.evaluate', { expression: axe });
          const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
          const bad = violations.filter(({ impact }) => ['serious', 'critical', 'moderate'].includes(impact))
            .map(({ id, impact, nodes }) => `${hash} ${impact} ${id}: ${nodes.slice(0, 3).map((node) => `${node.target} ${node.failureSummary}`).join(' | ')}`);
          assert.deepEqual(bad, []);
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(wide <= 0, `${hash} is ${wide} px too wide`);
        }
      });
    }
  }
});

function mockOnly() { return !process.env.FANFARE_URL; }
