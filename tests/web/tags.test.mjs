// Tests web/js/tags.js, which is pure.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const source = readFileSync(new URL('../../web/js/tags.js', import.meta.url), 'utf8');
const { TagFilter, later } = await import(`data:text/javascript,${encodeURIComponent(source)}`);

const HEADER = [...Buffer.from('FLV\x01\x05\0\0\0\x09\0\0\0\0', 'latin1')];
const tag = (kind, time, body) => {
  const bytes = Buffer.alloc(11 + body.length + 4);
  bytes.writeUInt32BE(kind << 24 | body.length);
  bytes.writeUInt32BE((time << 8 | time >>> 24) >>> 0, 4);
  bytes.set(body, 11);
  bytes.writeUInt32BE(11 + body.length, 11 + body.length);
  return [...bytes];
};
const ascii = (text) => [...Buffer.from(text)];
const video = tag(9, 40, [0x17, 1, 0, 0, 0, 1, 2, 3]);
const opus = tag(8, 60, [0x91, ...ascii('Opus'), 7, 7]);
const hevc = tag(9, 80, [0x93, ...ascii('hvc1'), 5, 5, 5]);
const channels = tag(8, 61, [0x94, ...ascii('Opus'), 1, 2]);
const colours = tag(9, 81, [0xd4, ...ascii('hvc1'), 2, 0, 0]);
const secondTrack = tag(9, 82, [0x96, 0, ...ascii('hvc1'), 1]);
const metadata = tag(18, 0, [2, 0, 10, ...ascii('onMetaData')]);
const empty = tag(8, 83, []);

test('tags that mpegts.js fails on are left out, however the bytes are cut', () => {
  const stream = Uint8Array.from([HEADER, metadata, video, channels, opus, colours, secondTrack, empty, hevc].flat());
  const expected = [HEADER, metadata, video, opus, empty, hevc].flat();
  for (let size = 1; size <= stream.length; size += 1) {
    const filter = new TagFilter();
    const kept = [];
    for (let at = 0; at < stream.length; at += size) kept.push(...filter.pass(stream.subarray(at, at + size)));
    assert.deepEqual(kept, expected, `pieces of ${size} bytes`);
    assert.deepEqual([filter.first, filter.newest, filter.duration], [40, 83, 43]);
  }
});

test('times go on across the wrap at 2^32, and metadata has none', () => {
  const filter = new TagFilter();
  assert.deepEqual([filter.newest, filter.duration], [null, 0]);
  filter.pass(Uint8Array.from([HEADER, tag(18, 9, [2]), tag(9, 2 ** 32 - 10, [0x27, 1]), tag(9, 30, [0x27, 1]), tag(8, 20, [0xaf, 1])].flat()));
  assert.deepEqual([filter.newest, filter.duration], [30, 40]);
  assert.equal(later(5, 2 ** 32 - 5), 10);
});
