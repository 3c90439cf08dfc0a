/**
 * No time of a lock depends on the wall clock, which may jump: what decides when a lock is lost and when a command is killed
 * asks CLOCK_BOOTTIME alone. The hosts of the chaos test were booted at different times, so nothing depends on that either.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('../../src', import.meta.url));
/** The wall clock, and the clocks that stand still in suspend. */
const otherClocks = /\bDate\b|\bhrtime\b|\bperformance\b|\bmonotonicMs\b/;
/** Times of day for people, as text: nothing is decided by them. */
const sinceText = /^.*\bnew Date\(.*\)\.toISOString\(\).*$/gm;

/** Where another clock decides something else. */
const others: readonly string[] = [
  // Until when a call to etcd waits for its answer: one that ends early or late is a renewal that is not confirmed, no more.
  'drivers/etcd/client/endpoint.ts',
  // How long the name of an owner's program is remembered.
  'drivers/etcd/lock-record.ts',
  // How often the watchdog is fed, not until when.
  'guard/watchdog.ts',
];

const folders = ['guard', 'drivers/etcd'];
const files = folders.flatMap((folder) =>
  readdirSync(join(source, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(folder, file)),
);

test('the guard and the session ask no other clock than that which counts suspend', () => {
  assert.ok(
    files.some((file) => file.startsWith('guard')) && files.some((file) => file.includes('session/')),
  );
  for (const file of files.filter((one) => !others.includes(one))) {
    const code = readFileSync(join(source, file), 'utf8')
      .replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
      .replaceAll(sinceText, '');
    assert.doesNotMatch(code, otherClocks, file);
  }
});
