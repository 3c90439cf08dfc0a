/** What locks refuse, in words of /proc, is what the fcntl driver decides when it meets them. */
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { takeMode } from '../../src/drivers/fcntl/byte-locks.js';
import { modeByte, qemuTests } from '../../src/drivers/fcntl/byte-table.js';
import { refusedByLocks, refusedByMode } from '../../src/holders/refused-modes.js';
import type { LockLine } from '../../src/system/lock-lines.js';
import { tryLock } from '../../src/system/ofd-lock.js';
import { compatible, modes } from '../../src/vocabulary.js';

const folder = mkdtempSync(join(tmpdir(), 'refused-'));
after(() => rmSync(folder, { recursive: true }));

function line(type: LockLine['type'], byte: number): LockLine {
  return { kind: 'OFD', type, inode: { dev: '8:1', ino: '5' }, start: byte, end: byte, text: '' };
}

const interesting = [0, 1, 2, 3, 4, 5, 99, 100, 101, 102, 103, 104, 200, 201, 202, 203, 204];

test('property: any locks refuse what the driver refuses', () => {
  const lock = fc.record({
    type: fc.constantFrom<LockLine['type']>('read', 'write'),
    byte: fc.constantFrom(...interesting),
  });
  const path = join(folder, 'image');
  writeFileSync(path, '');
  fc.assert(
    fc.property(fc.uniqueArray(lock, { selector: ({ byte }) => byte, maxLength: 6 }), (locks) => {
      const holder = openSync(path, 'r+');
      try {
        for (const { type, byte } of locks) assert.ok(tryLock(holder, type, byte));
        const refused = modes.filter((mode) => {
          const fd = openSync(path, 'r+');
          try {
            return takeMode(fd, mode, 'check') !== undefined;
          } finally {
            closeSync(fd);
          }
        });
        assert.deepEqual(refusedByLocks(locks.map(({ type, byte }) => line(type, byte))), refused);
      } finally {
        closeSync(holder);
      }
    }),
    { numRuns: 300 },
  );
});

test('every byte that the driver looks at refuses something', () => {
  for (const byte of [...Object.values(modeByte), ...modes.flatMap(qemuTests)])
    assert.ok(refusedByLocks([line('read', byte)]).length > 0, String(byte));
});

test('a flock(2) and a lease refuse nothing; a mode refuses what it is not compatible with', () => {
  for (const kind of ['FLOCK', 'LEASE'] as const) {
    const { end: _, ...whole } = line('write', 0);
    assert.deepEqual(refusedByLocks([{ ...whole, kind }]), []);
  }
  for (const held of modes)
    assert.deepEqual(
      refusedByMode(held),
      modes.filter((asked) => !compatible(asked, held)),
    );
});
