// Shared by the tests and the screenshots: the tools, a browser, the mock relay.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const tools = createRequire(join(ROOT, 'target/tools/web/package.json'));
export const { chromium } = tools('playwright-core');
export const jsqr = tools('jsqr');
export const axe = readFileSync(tools.resolve('axe-core/axe.min.js'), 'utf8');

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--mute-audio'];

/** A browser with a temporary profile. */
export const openBrowser = (...flags) => chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: [...FLAGS, ...flags] });

export async function startMock() {
  const child = spawn('python3', [join(ROOT, 'tests/web/mock.py')], { stdio: ['ignore', 'pipe', 'inherit'] });
  const address = await new Promise((resolve, reject) => {
    let out = '';
    child.stdout.on('data', (data) => { out += data; if (out.includes('\n')) resolve(out.trim()); });
    child.on('exit', (code) => reject(new Error(`the mock exited with ${code}`)));
  });
  return { address, change: (what) => fetch(new URL(`mock/${what}`, address), { method: 'POST' }), stop: () => child.kill() };
}
