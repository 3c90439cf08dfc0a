import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { Journal, readJournal } from '../../../src/daemon/lockd/journal.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-journal-'));
process.on('exit', () => rmSync(folder, { recursive: true }));
const path = join(folder, 'journal');
const headerBytes = 64;
/** In the header: where the entries end. */
const endAt = 60;

beforeEach(() => {
  for (const one of [path, `${path}.new`]) rmSync(one, { force: true });
});

function add(journal: Journal, id: number, record: string, unanswered = false): number {
  const bytes = Buffer.from(`before${record}behind`);
  return journal.add(id, bytes, 6, bytes.length - 6, unanswered);
}

function heldIn(file = path): [id: number, record: string, unanswered: boolean][] | undefined {
  const read = readJournal(file);
  return read && [...read.held].map(([id, { record, unanswered }]) => [id, record, unanswered]);
}

test('what is held is what was added and not removed', () => {
  const journal = new Journal(path);
  add(journal, 1, '[1]');
  const two = add(journal, 2, 'ü "two" \u{1F512}', true);
  const three = add(journal, 2 ** 47, 'three');
  assert.equal(heldIn(), undefined, 'not before it takes the place of the old one');
  journal.publish();
  journal.remove(three);
  const four = add(journal, 4, 'four');
  assert.equal(four, three, 'its place is used again');
  assert.deepEqual(heldIn(), [
    [1, '[1]', false],
    [2, 'ü "two" \u{1F512}', true],
    [4, 'four', false],
  ]);
  journal.setUnanswered(two, false);
  journal.setUnanswered(four, true);
  assert.deepEqual(
    heldIn()?.map(([, , unanswered]) => unanswered),
    [false, false, true],
  );
  assert.equal(statSync(path).mode & 0o777, 0o600);
  journal.discard();
  assert.equal(readJournal(path), undefined);
});

test('without a file there is no journal; another file is none, nor is that of another boot', () => {
  assert.equal(readJournal(path), undefined);
  writeFileSync(path, 'something else\n');
  assert.equal(readJournal(path), undefined);
  const journal = new Journal(path);
  add(journal, 1, 'one');
  journal.publish();
  journal.close();
  const bytes = readFileSync(path);
  bytes[30] = (bytes[30] ?? 0) ^ 1;
  writeFileSync(path, bytes);
  assert.equal(readJournal(path), undefined);
});

test('wherever the writing of an entry ends, all others count', () => {
  const journal = new Journal(path);
  for (let id = 1; id <= 4; id++) add(journal, id, `record ${id}`);
  journal.publish();
  const without = readFileSync(path);
  const last = add(journal, 5, 'x'.repeat(100));
  const whole = readFileSync(path);
  journal.close();
  // In the order in which they are written: size, where the entries end, record, id, sum, length.
  for (let at = 0; at < 128 + 24; at++) {
    const torn = Buffer.from(without);
    whole.copy(torn, last, last, last + at);
    if (at >= 4) whole.copy(torn, endAt, endAt, headerBytes);
    writeFileSync(path, torn);
    const read = readJournal(path);
    assert.deepEqual([...(read?.held.keys() ?? [])].slice(0, 4), [1, 2, 3, 4], `${at} bytes`);
    assert.ok((read?.damaged ?? 9) <= 1);
    assert.equal(read?.held.has(5), at >= 24 + 100);
  }
});

test('an entry in which any byte was changed does not count', () => {
  const journal = new Journal(path);
  const entry = add(journal, 7, '{"name":"disk"}');
  journal.publish();
  journal.close();
  const whole = readFileSync(path);
  const bytes = fc.nat(24 + 15 - 1).filter((at) => at < 12 || at > 15);
  fc.assert(
    fc.property(bytes, fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const changed = Buffer.from(whole);
      changed[entry + at] = (changed[entry + at] ?? 0) ^ flip;
      writeFileSync(path, changed);
      return at < 4 || readJournal(path)?.held.has(7) === false;
    }),
  );
});

test('whatever is written and removed, it says what is there, and does not grow without end', () => {
  const step = fc.record({
    id: fc.integer({ min: 1, max: 8 }),
    length: fc.nat(3000),
    unanswered: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const journal = new Journal(path);
      journal.publish();
      const entries = new Map<number, number>();
      const model = new Map<number, [number, string, boolean]>();
      for (const { id, length, unanswered } of steps) {
        const known = entries.get(id);
        if (known !== undefined) {
          journal.remove(known);
          entries.delete(id);
          model.delete(id);
        } else if (length > 0) {
          const record = String(id).repeat(length);
          entries.set(id, add(journal, id, record, unanswered));
          model.set(id, [id, record, unanswered]);
        }
      }
      const held = heldIn()?.toSorted(([a], [b]) => a - b);
      journal.close();
      assert.deepEqual(
        held,
        [...model.values()].toSorted(([a], [b]) => a - b),
      );
    }),
  );
});

test('it grows with what is held, and only with that', () => {
  const journal = new Journal(path);
  journal.publish();
  for (let round = 0; round < 20_000; round++) journal.remove(add(journal, round, 'x'.repeat(200)));
  const before = statSync(path).size;
  const entries = Array.from({ length: 5_000 }, (_, id) => add(journal, id + 1, 'x'.repeat(200)));
  const held = readJournal(path)?.held.size;
  const after = statSync(path).size;
  for (const entry of entries) journal.remove(entry);
  assert.deepEqual([held, heldIn()], [5_000, []]);
  journal.close();
  assert.ok(before <= 256 * 1024 && after > 5_000 * 224 && after < 5_000 * 600, `${before}, ${after}`);
  assert.ok(headerBytes < before);
});

test('one that ends before its entries do is damaged, and not only torn', () => {
  const journal = new Journal(path);
  for (let id = 1; id <= 8; id++) add(journal, id, `record ${id}`);
  journal.publish();
  journal.close();
  const whole = readFileSync(path);
  assert.equal(readJournal(path)?.damaged, 0);
  for (let end = headerBytes; end < headerBytes + 8 * 64; end += 32) {
    writeFileSync(path, whole.subarray(0, end));
    assert.ok((readJournal(path)?.damaged ?? 2) > 1, `${end} bytes`);
    // Of the last one alone: torn.
    if (end > headerBytes + 7 * 64) continue;
    const hole = Buffer.from(whole);
    hole.fill(0, end);
    writeFileSync(path, hole);
    assert.ok((readJournal(path)?.damaged ?? 2) > 1, `zeros from ${end}`);
  }
});
