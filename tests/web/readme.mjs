// The screenshots in README: a relay with streams and players that FFmpeg makes, in a real browser.
// It takes ports 1935 and 8080 for two minutes.
//   cargo build --release && node tests/web/readme.mjs target/release/fanfare docs [an FFmpeg for the streams]
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBrowser } from './browser.mjs';

const [relay, directory, ffmpeg = 'ffmpeg'] = process.argv.slice(2);
const TOKEN = 'token-for-screenshots';
/** What the browser takes this machine for. */
const HOST = 'live.example.org';
const fractal = (place, colours) => `mandelbrot=size=640x360:rate=25:${place}:end_pts=3000:inner=black,gblur=sigma=1,format=gray,format=gbrp,pseudocolor=preset=${colours}`;
/** Name, video, and how many players. */
const STREAMS = [
  ['city/harbour', 'gradients=size=640x360:rate=25:n=4:speed=0.01:c0=0x1b2a49:c1=0xd69a21:c2=0x7a2e39:c3=0x2b6a76:seed=4', 3],
  ['lab/microscope', 'life=size=80x45:rate=12:ratio=0.25:mold=30:seed=7:death_color=#1d5a52:life_color=#f3e2a9:mold_color=#0b1618,scale=640:360:flags=bicubic,gblur=sigma=5,fps=25', 2],
  ['live/live_stream', 'testsrc2=size=640x360:rate=30', 9],
  ['observatory/dome', fractal('start_scale=0.003:end_scale=0.0001:start_x=-0.743643887037151:start_y=0.13182590420533', 'magma'), 7],
  ['radio/evening', null, 4],
  ['studio/camera-1', fractal('start_scale=0.012:end_scale=0.001:start_x=-0.235125:start_y=0.827215', 'cividis'), 6],
  ['studio/camera-2', 'smptehdbars=size=640x360:rate=25', 1],
  ['talks/main-hall', fractal('start_scale=2.2:end_scale=0.2', 'viridis'), 5],
];
/** How long each stream is before it begins again. */
const CLIP_SECONDS = 20;
/** The plots have something to show after this. */
const SECONDS = 100;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const children = [];
const run = (program, args, options = {}) => children.push(spawn(program, args, { stdio: 'ignore', ...options }));

const home = mkdtempSync(join(tmpdir(), 'fanfare-shots-'));
try {
  const file = (at) => join(home, `${at}.flv`);
  for (const [at, [, video]] of STREAMS.entries()) {
    const encode = video ? ['-f', 'lavfi', '-i', video, '-c:v', 'libx264', '-preset', 'veryfast', '-pix_fmt', 'yuv420p', '-g', '50', '-bf', '0', '-b:v', '900k', '-maxrate', '1200k', '-bufsize', '1M'] : [];
    spawnSync(ffmpeg, ['-nostdin', '-v', 'error', '-f', 'lavfi', '-i', `sine=frequency=${220 + 40 * at}:sample_rate=44100`, ...encode, '-c:a', 'aac', '-t', `${CLIP_SECONDS}`, file(at)], { stdio: 'inherit' });
  }
  run(relay, [], { env: { ...process.env, FANFARE_API_TOKEN: TOKEN, HOME: home, XDG_STATE_HOME: home } });
  await sleep(1500);
  const address = (name) => `rtmp://127.0.0.1/${name}`;
  for (const [at, [name]] of STREAMS.entries()) {
    run(ffmpeg, ['-nostdin', '-v', 'error', '-re', '-stream_loop', '-1', '-i', file(at), '-c', 'copy', '-f', 'flv', address(name)]);
  }
  await sleep(4000);
  // They join one after the other, so that the plot rises.
  for (let round = 0; round < 9; round += 1) {
    for (const [name, , players] of STREAMS) {
      if (round >= players) continue;
      const url = round % 3 === 2 ? `http://127.0.0.1:8080/${name}.flv` : address(name);
      run(ffmpeg, ['-nostdin', '-v', 'error', '-i', url, '-c', 'copy', '-f', 'null', '-']);
    }
    await sleep(SECONDS * 1000 / 9);
  }
  const browser = await openBrowser(`--host-resolver-rules=MAP ${HOST} 127.0.0.1`);
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, deviceScaleFactor: 1 });
  const take = async (name, hash, ready, { colorScheme = 'light', height = 900 } = {}) => {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width: 1440, height });
    await page.goto(`http://${HOST}:8080/${hash}`);
    await ready();
    await page.screenshot({ path: join(home, 'shot.png') });
    // 256 colours: a third of the bytes.
    spawnSync('ffmpeg', ['-v', 'error', '-y', '-i', join(home, 'shot.png'), '-vf', 'split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=dither=bayer:bayer_scale=5', join(directory, `page-${name}.png`)], { stdio: 'inherit' });
  };
  await take('streams', '#/', async () => {
    await page.waitForFunction((count) => document.querySelectorAll('.card canvas:not([hidden])').length >= count, STREAMS.length - 1, { timeout: 40000 });
  });
  await take('watch', '#/watch/observatory/dome', async () => {
    await page.locator('.stage[data-state=playing]').waitFor();
    await page.locator('.stage').click({ position: { x: 40, y: 40 } });
    await page.waitForTimeout(2500);
    await page.mouse.move(400, 500);
    await page.waitForTimeout(300);
  }, { colorScheme: 'dark' });
  await take('status', `?token=${TOKEN}#/status`, async () => {
    await page.locator('.log li').first().waitFor();
    await page.waitForTimeout(4500);
  }, { height: 1290 });
  await browser.close();
} finally {
  for (const child of children.reverse()) child.kill('SIGKILL');
  rmSync(home, { recursive: true, force: true });
}
