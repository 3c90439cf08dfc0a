import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isVirtlockdLock, isWatched, meaningOf } from '../../src/holders/lock-meaning.js';
import type { LockLine } from '../../src/system/lock-lines.js';

function lock(kind: LockLine['kind'], type: LockLine['type'], start: number, end?: number): LockLine {
  return {
    kind,
    type,
    inode: { dev: '8:1', ino: '5' },
    start,
    ...(end === undefined ? {} : { end }),
    text: `${kind} ${type} ${start} ${end}`,
  };
}

test('byte 0: virtlockd by its name, else something like it', () => {
  const exclusive = lock('POSIX', 'write', 0, 0);
  assert.deepEqual(meaningOf([exclusive], 'virtlockd'), {
    through: ['virtlockd'],
    mode: 'exclusive',
    does: [],
  });
  assert.deepEqual(meaningOf([lock('POSIX', 'read', 0, 0)], 'virtlockd'), {
    through: ['virtlockd'],
    mode: 'shared',
    does: [],
  });
  assert.deepEqual(meaningOf([exclusive], 'python3').through, ['a lock on byte 0, as virtlockd takes it']);
  assert.ok(isVirtlockdLock(exclusive, 'virtlockd'));
  assert.ok(!isVirtlockdLock(exclusive, 'python3'));
  assert.ok(!isVirtlockdLock(lock('OFD', 'write', 0, 0), 'virtlockd'));
});

test('Holdfast’s modes, also where the kernel joined neighbouring bytes', () => {
  const modes: [LockLine[], string][] = [
    [[lock('OFD', 'write', 0, 0)], 'exclusive'],
    // The witness of a record for other hosts.
    [[lock('OFD', 'write', 0, 0), lock('OFD', 'read', 2 ** 52 + 7, 2 ** 52 + 7)], 'exclusive'],
    [[lock('OFD', 'read', 0, 0), lock('OFD', 'read', 2, 2)], 'shared'],
    [[lock('OFD', 'read', 0, 0), lock('OFD', 'read', 2, 3)], 'read'],
    [[lock('OFD', 'read', 0, 0), lock('OFD', 'read', 3, 3)], 'read'],
    [[lock('OFD', 'read', 0, 0), lock('OFD', 'read', 4, 4)], 'part'],
  ];
  for (const [locks, mode] of modes)
    assert.deepEqual(meaningOf(locks, 'bash'), { through: ['Holdfast'], mode, does: [] });
});

test('QEMU’s bytes, as they were seen', () => {
  const writer = [
    lock('OFD', 'read', 100, 101),
    lock('OFD', 'read', 103, 103),
    lock('OFD', 'read', 201, 201),
    lock('OFD', 'read', 203, 203),
  ];
  assert.deepEqual(meaningOf(writer, 'qemu-system-x86_64'), {
    through: ["QEMU's own image lock"],
    mode: 'exclusive',
    does: ['reads', 'writes', 'resizes', 'forbids other writers', 'forbids others to resize'],
  });
  assert.equal(meaningOf([lock('OFD', 'read', 100, 101)], 'qemu-nbd').mode, 'shared');
  const reader = meaningOf([lock('OFD', 'read', 100, 100), lock('OFD', 'read', 201, 201)], undefined);
  assert.deepEqual([reader.mode, reader.through], ['read', ["QEMU's own image lock"]]);
  assert.deepEqual(reader.does, ['reads', 'forbids other writers']);
  assert.deepEqual(meaningOf([lock('OFD', 'read', 200, 203)], 'qemu-img').does, [
    'forbids other readers',
    'forbids other writers',
    'forbids others to rewrite what is there',
    'forbids others to resize',
  ]);
  // Holdfast can hold them for a command that is no QEMU.
  assert.deepEqual(meaningOf(writer, 'dd').through, ["QEMU's image lock"]);
});

test('of thousands of locks the first ones are told', () => {
  const locks = Array.from({ length: 20_000 }, (_, index) =>
    lock('OFD', 'write', 1000 + 2 * index, 1000 + 2 * index),
  );
  const { through } = meaningOf(locks, 'x');
  assert.equal(through.length, 9);
  assert.deepEqual(through.slice(7), ['an OFD write lock on bytes 1014 to 1014', '19992 more locks']);
});

test('other locks are told as they are', () => {
  assert.deepEqual(meaningOf([lock('FLOCK', 'write', 0)], 'x'), { through: ['flock(2)'], does: [] });
  assert.deepEqual(meaningOf([lock('OFD', 'write', 0)], 'x'), {
    through: ['an OFD write lock on bytes 0 to the end'],
    mode: 'exclusive',
    does: [],
  });
  assert.deepEqual(meaningOf([lock('POSIX', 'read', 0)], 'x').mode, 'read');
  assert.deepEqual(meaningOf([lock('POSIX', 'write', 5000, 5001)], 'x'), {
    through: ['a POSIX write lock on bytes 5000 to 5001'],
    does: [],
  });
  assert.deepEqual(meaningOf([lock('POSIX', 'write', 1, 1)], 'libvirtd').through, [
    'libvirt, which is changing its owner or label',
  ]);
  assert.deepEqual(meaningOf([], 'x'), { through: [], does: [] });
});

test('who asks to write meets any lock on bytes 0, 101, 103, 200, 201 and 203', () => {
  const watched = (byte: number): boolean => isWatched(lock('OFD', 'read', byte, byte));
  const bytes = Array.from({ length: 300 }, (_, byte) => byte).filter(watched);
  assert.deepEqual(bytes, [0, 101, 103, 200, 201, 203]);
  assert.ok(isWatched(lock('POSIX', 'write', 50)));
  assert.ok(!isWatched(lock('POSIX', 'write', 204)));
  assert.ok(!isWatched(lock('FLOCK', 'write', 0)));
});

test('property: every lock has a word for it', () => {
  fc.assert(
    fc.property(
      fc.constantFrom<LockLine['kind']>('POSIX', 'OFD', 'FLOCK', 'LEASE'),
      fc.constantFrom<LockLine['type']>('read', 'write'),
      fc.nat({ max: 300 }),
      fc.option(fc.nat({ max: 300 }), { nil: undefined }),
      fc.option(fc.string(), { nil: undefined }),
      (kind, type, start, length, program) => {
        const end = length === undefined ? undefined : start + length;
        const { through } = meaningOf([lock(kind, type, start, end)], program);
        assert.ok(through.length === 1 && through[0] !== '');
      },
    ),
  );
});
