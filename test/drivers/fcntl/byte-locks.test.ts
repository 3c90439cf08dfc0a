/** What a look says of each byte that somebody else has locked, and what taking says: the same. */
import assert from 'node:assert/strict';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { takeMode, testMode, type QemuLock } from '../../../src/drivers/fcntl/byte-locks.js';
import { tryLock } from '../../../src/system/ofd-lock.js';
import { modes } from '../../../src/vocabulary.js';
import { privateRuntime } from '../../beds/private-folder.js';

const folder = privateRuntime();
const bytes = [0, 1, 2, 3, 4, 5, 100, 101, 102, 103, 104, 200, 201, 202, 203];
const qemuLocks: readonly QemuLock[] = ['check', 'hold', 'off'];

test('whatever one other lock there is, a look and a lock agree', () => {
  const path = join(folder, 'disk.img');
  writeFileSync(path, '');
  const differ: string[] = [];
  let refused = 0;
  for (const type of ['read', 'write'] as const) {
    for (const byte of bytes) {
      const other = openSync(path, 'r+');
      assert.ok(tryLock(other, type, byte));
      for (const mode of modes) {
        for (const qemu of qemuLocks) {
          const looking = openSync(path, 'r');
          const looked = testMode(looking, mode, qemu);
          closeSync(looking);
          const taking = openSync(path, 'r+');
          const taken = takeMode(taking, mode, qemu);
          closeSync(taking);
          if (taken !== undefined) refused++;
          if ((looked === undefined) !== (taken === undefined)) {
            differ.push(`${mode}, qemu ${qemu}, a ${type} lock on byte ${byte}`);
          }
        }
      }
      closeSync(other);
    }
  }
  assert.deepEqual(differ, []);
  assert.ok(refused > 0);
});
