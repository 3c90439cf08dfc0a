/** docs/holders.md says what the code finds and decides. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { kernelHolder } from '../../src/holders/kernel-holder.js';
import { meaningOf } from '../../src/holders/lock-meaning.js';
import { refusedByLocks, refusedWithoutLock } from '../../src/holders/refused-modes.js';
import type { LockLine } from '../../src/system/lock-lines.js';

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const document = read('docs/holders.md');

/** The rows of the table under a heading, without its head. */
function rows(heading: string): string[][] {
  const part = document.split(`## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
  return part
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .slice(2)
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

const spans = (cell = ''): string[] => [...cell.matchAll(/`([^`]+)`/g)].map((found) => found[1] ?? '');

/** `OFD read, bytes 0 and 2` */
function locksOf(cell: string): LockLine[] {
  const [, kind, type, from, how, to] =
    /^(POSIX|OFD|FLOCK|LEASE) (read|write)(?:, bytes? (\d+)(?: (and|to) (\d+))?)?$/.exec(cell) ?? [];
  assert.ok(kind !== undefined, cell);
  const lock = (start: number, end: number): LockLine => ({
    kind: kind as LockLine['kind'],
    type: type === 'write' ? 'write' : 'read',
    inode: { dev: '8:1', ino: '5' },
    start,
    end,
    text: '',
  });
  const first = Number(from ?? 0);
  if (how === 'and') return [lock(first, first), lock(Number(to), Number(to))];
  return [lock(first, Number(to ?? first))];
}

test('each lock, its words and what it refuses', () => {
  const table = rows('Locks');
  assert.ok(table.length > 15);
  for (const [cell = '', , shown, refuses] of table) {
    const locks = locksOf(cell);
    assert.equal(refusedByLocks(locks).join(', ') || 'nothing', refuses, cell);
    const said = ['virtlockd', 'qemu-img', 'perl'].flatMap((program) => {
      const { through, does } = meaningOf(locks, program);
      return [...through, ...does];
    });
    for (const word of spans(shown)) assert.ok(said.includes(word), `${cell}: ${word} of ${said.join('; ')}`);
  }
});

test('each use without a lock is shown in words that the code has, and refuses what the code says', () => {
  const folder = new URL('../../src/holders/', import.meta.url);
  const code = readdirSync(folder)
    .map((name) => readFileSync(new URL(name, folder), 'utf8'))
    .join('\n');
  for (const [use = '', , shown, refuses] of rows('Uses without a lock')) {
    for (const word of spans(shown)) {
      for (const piece of word.split(/[A-Z/]{2,}|\/dev\/loopN/).map((each) => each.trim()))
        assert.ok(code.includes(piece), `${use}: ${word}`);
    }
    assert.ok(['nothing', 'nothing more', refusedWithoutLock.join(', ')].includes(refuses ?? ''), use);
  }
  const loop = { kind: 'loop', where: '/dev/loop0', above: [], evidence: '' } as const;
  assert.deepEqual(kernelHolder(loop).refuses, refusedWithoutLock);
  assert.deepEqual(kernelHolder({ ...loop, readOnly: true }).refuses, []);
});
