import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProcessUse } from '../../src/holders/process-use.js';
import { lendVirtlockd } from '../../src/holders/virtlockd-guest.js';
import { modes } from '../../src/vocabulary.js';
import type { Holder } from '../../src/vocabulary.js';

function use(pid: number, more: Partial<ProcessUse> & { guest?: string } = {}): ProcessUse {
  const { guest, ...rest } = more;
  return {
    pid,
    process: {
      pid,
      startTime: 1,
      program: 'p',
      stopped: false,
      libvirt: 'system',
      ...(guest === undefined ? {} : { guest }),
    },
    files: [],
    maps: [],
    writes: true,
    locked: true,
    virtlockd: false,
    ...rest,
  };
}

function describe({ pid, process, virtlockd }: ProcessUse): Holder {
  const mode = virtlockd ? 'exclusive' : undefined;
  return {
    pid,
    ...(process.guest === undefined ? {} : { guest: process.guest }),
    ...(mode === undefined ? {} : { mode }),
    through: [virtlockd ? 'virtlockd' : 'its own'],
    evidence: [`evidence of ${pid}`],
    refuses: virtlockd ? modes : ['read'],
  };
}

test('virtlockd’s lock is told of the guest that writes', () => {
  assert.deepEqual(
    lendVirtlockd([use(1, { virtlockd: true }), use(2, { guest: 'web1' }), use(3)], describe),
    [
      {
        pid: 2,
        guest: 'web1',
        mode: 'exclusive',
        through: ['virtlockd', 'its own'],
        evidence: ['evidence of 2', 'evidence of 1'],
        refuses: modes,
      },
      { pid: 3, through: ['its own'], evidence: ['evidence of 3'], refuses: ['read'] },
    ],
  );
});

test('without a guest that writes, virtlockd itself is the holder', () => {
  const daemon = use(1, { virtlockd: true });
  for (const others of [[], [use(3)], [use(2, { guest: 'web1', writes: false })]])
    assert.deepEqual(
      lendVirtlockd([daemon, ...others], describe).map(({ pid }) => pid),
      [1, ...others.map(({ pid }) => pid)],
    );
});

test('who is not wanted is left out, and its lock is lent all the same', () => {
  const uses = [use(1, { virtlockd: true }), use(2, { guest: 'web1' }), use(3)];
  const found = lendVirtlockd(uses, describe, ({ pid }) => pid !== 1 && pid !== 3);
  assert.deepEqual(
    found.map(({ pid, mode }) => [pid, mode]),
    [[2, 'exclusive']],
  );
});

test('where it is not known what one of them refuses, it is not known of both', () => {
  const unknown = (each: ProcessUse): Holder => {
    const { refuses: _, ...holder } = describe(each);
    return holder;
  };
  const [found] = lendVirtlockd([use(1, { virtlockd: true }), use(2, { guest: 'web1' })], unknown);
  assert.equal(found?.refuses, undefined);
});
