import assert from 'node:assert/strict';
import { closeSync, openSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { writeLockRecord } from '../../../src/daemon/lockd/lock-record.js';
import { onlyWhatIsTrue } from '../../../src/daemon/lockd/stored-locks.js';
import { tryLock } from '../../../src/system/ofd-lock.js';
import { lockOn } from '../../beds/observed-lock.js';
import { privateFolder } from '../../beds/private-folder.js';

const folder = privateFolder();
const owner = { uuid: '44444444-2222-4333-8444-555555555555', name: 'web1', id: 1, pid: 1, startTime: 5 };

/** A locked file, as the store gives it back, and what the journal has under the same id. */
function storedLock(name: string) {
  const path = join(folder, name);
  writeFileSync(path, 'data');
  const fd = openSync(path, 'r+');
  assert.equal(tryLock(fd, 'write', 0), true);
  const record = writeLockRecord({
    lockspace: '',
    name: path,
    shared: false,
    autocreated: false,
    since: '2026-01-01T00:00:00Z',
    owners: [owner],
  });
  return { path, fd, record };
}

function journalOf(...entries: (readonly [id: number, record: string])[]) {
  const held = entries.map(([id, record]) => [id, { record, unanswered: false }] as const);
  return { held: new Map(held), damaged: 0 };
}

test('what the journal has under that id, and is still there, is taken', () => {
  const { path, fd, record } = storedLock('there.img');
  const kept = [{ id: 7, record: '', descriptors: [fd] }];
  assert.deepEqual(
    onlyWhatIsTrue(kept, journalOf([7, record]), () => assert.fail()),
    kept,
  );
  assert.equal(lockOn(path), 'write');
  closeSync(fd);
});

test('what the journal does not have, or has of another file, is unlocked', () => {
  const cases = {
    'no journal': () => undefined,
    'not in it': () => journalOf(),
    'of another file': () => journalOf([7, storedLock('other.img').record]),
    'no lock': () => journalOf([7, '[1,"/var/lib/locks"]']),
  };
  for (const [what, journal] of Object.entries(cases)) {
    const { path, fd } = storedLock('disk.img');
    const dropped: number[] = [];
    const left = onlyWhatIsTrue([{ id: 7, record: '', descriptors: [fd] }], journal(), (id) =>
      dropped.push(id),
    );
    assert.deepEqual([left, dropped, lockOn(path)], [[], [7], 'none'], what);
  }
});

test('a file that was replaced is not the one that the journal means', () => {
  const { path, fd, record } = storedLock('replaced.img');
  writeFileSync(`${path}.new`, 'data');
  renameSync(`${path}.new`, path);
  assert.deepEqual(
    onlyWhatIsTrue([{ id: 7, record: '', descriptors: [fd] }], journalOf([7, record]), () => undefined),
    [],
  );
});

test('what a keeper has seen all the time is believed', () => {
  const kept = [{ id: 7, record: 'any', descriptors: [] }];
  assert.deepEqual(
    onlyWhatIsTrue(kept, undefined, () => assert.fail()),
    kept,
  );
});
