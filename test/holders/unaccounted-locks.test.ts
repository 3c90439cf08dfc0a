/** Locks of processes that cannot be seen: who is named for them, and with how many words. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unaccountedHolders } from '../../src/holders/unaccounted-locks.js';
import type { LockLine } from '../../src/system/lock-lines.js';

const lock = (kind: LockLine['kind'], start = 0): LockLine => ({
  kind,
  type: 'write',
  ...(kind === 'OFD' ? {} : { pid: process.pid }),
  inode: { dev: '8:1', ino: '5' },
  start,
  end: start,
  text: `${kind} ADVISORY WRITE ${process.pid} 08:01:5 ${start} ${start}`,
});

test('a POSIX lock is its process’s; who took a flock may have passed it on, and its pid be another one’s', () => {
  const [posix, ...more] = unaccountedHolders([lock('POSIX')]);
  assert.deepEqual([posix?.pid, more], [process.pid, []]);
  const [flock] = unaccountedHolders([lock('FLOCK')]);
  assert.deepEqual([flock?.pid, flock?.program, flock?.through], [undefined, undefined, ['flock(2)']]);
  assert.match(flock?.evidence.join() ?? '', new RegExp(`/proc/locks: FLOCK .* ${process.pid} `));
});

test('of thousands of locks the first ones are shown', () => {
  const locks = Array.from({ length: 5000 }, (_, index) => lock('OFD', 1000 + 2 * index));
  const [holder] = unaccountedHolders(locks);
  assert.deepEqual([holder?.through.length, holder?.evidence.length], [9, 65]);
  assert.equal(holder?.evidence.at(-1), 'and 4936 more locks');
});
