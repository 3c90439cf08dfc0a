import assert from 'node:assert/strict';
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { Journal, readJournal } from '../../../src/daemon/lockd/journal.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-journal-'));
process.on('exit', () => rmSync(folder, { recursive: true }));
const path = join(folder, 'journal');
const nothing = (): [] => [];

beforeEach(() => rmSync(path, { force: true }));

test('what is held is what was taken and not given back', () => {
  const journal = new Journal(path, nothing);
  journal.held(1, '{"a":1}');
  journal.held(2, 'ü "two" \u{1F512}');
  journal.held(1, '{"a":2}');
  journal.held(3, '');
  journal.free(3);
  journal.close();
  assert.deepEqual(readJournal(path), {
    held: new Map([
      [1, '{"a":2}'],
      [2, 'ü "two" \u{1F512}'],
    ]),
    damaged: 0,
  });
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

test('without a file there is no journal; another file is none', () => {
  assert.equal(readJournal(path), undefined);
  writeFileSync(path, 'something else\n');
  assert.deepEqual(readJournal(path), { held: new Map(), damaged: 1 });
});

test('wherever the last line ends, all before it counts', () => {
  const journal = new Journal(path, nothing);
  for (let id = 1; id <= 5; id++) journal.held(id, `record ${id}`);
  journal.close();
  const whole = readFileSync(path);
  const lastLine = whole.lastIndexOf('\n', whole.length - 2) + 1;
  for (let length = lastLine; length < whole.length - 1; length++) {
    truncateSync(path, length);
    const read = readJournal(path);
    assert.deepEqual([...(read?.held.keys() ?? [])], [1, 2, 3, 4], `${length} bytes`);
    writeFileSync(path, whole);
  }
  appendFileSync(path, 'f');
  assert.equal(readJournal(path)?.held.size, 5);
});

test('a line in which any byte was changed does not count', () => {
  const journal = new Journal(path, nothing);
  journal.held(7, '{"name":"disk"}');
  journal.close();
  const whole = readFileSync(path);
  const start = whole.indexOf('\n') + 1;
  fc.assert(
    fc.property(fc.nat(whole.length - start - 2), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const changed = Buffer.from(whole);
      changed[start + at] = (changed[start + at] ?? 0) ^ flip;
      writeFileSync(path, changed);
      return readJournal(path)?.held.has(7) === false;
    }),
  );
});

test('a file that has grown is written anew from what is held, in one step', () => {
  const live = new Map([[1, 'x'.repeat(100_000)]]);
  const journal = new Journal(path, () => live);
  for (let round = 0; round < 400; round++) {
    live.set(2, `${round}${'y'.repeat(100_000)}`);
    journal.held(2, live.get(2) ?? '');
  }
  journal.close();
  assert.ok(statSync(path).size < 20 * 1024 * 1024);
  assert.deepEqual(readJournal(path)?.held, live);
});
