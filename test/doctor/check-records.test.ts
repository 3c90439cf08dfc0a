import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkRecords } from '../../src/doctor/check-records.js';
import { tryLock } from '../../src/system/ofd-lock.js';
import { privateFolder } from '../beds/private-folder.js';
import { needs } from '../needs.js';
import { ids, only } from './recorded-host.js';

const folder = privateFolder();
const found = (runtimeDirectory: string) => checkRecords({ runtimeDirectory });

test('a runtime directory that is not there is fine, and is not made', () => {
  const directory = join(folder, 'none');
  assert.deepEqual(ids(found(directory)), ['runtime-directory-safe']);
  assert.equal(existsSync(directory), false);
});

test('a record without its lock is dead, and stays', () => {
  const directory = join(folder, 'run');
  mkdirSync(join(directory, 'holds'), { recursive: true, mode: 0o700 });
  assert.deepEqual(ids(found(directory)), ['runtime-directory-safe', 'records-alive']);
  const [dead, live] = [join(directory, 'holds/dead.json'), join(directory, 'holds/live.json')];
  writeFileSync(dead, '{}');
  writeFileSync(live, '{}');
  const fd = openSync(live, 'r+');
  try {
    assert.ok(tryLock(fd, 'write', 0));
    assert.deepEqual(only(found(directory), 'dead-records').evidence, [dead]);
    assert.ok(existsSync(dead));
  } finally {
    closeSync(fd);
  }
  assert.match(only(found(directory), 'dead-records').what, /^2 holds/);
});

test('a runtime directory in the hands of others', (t) => {
  const open = join(folder, 'open');
  mkdirSync(open);
  chmodSync(open, 0o777);
  const unsafe = only(found(open), 'runtime-directory-unsafe');
  assert.match(unsafe.what, /others can write to /);
  assert.match(unsafe.evidence.join(), /mode 0777/);
  const link = join(folder, 'link');
  symlinkSync(open, link);
  assert.deepEqual(ids(found(link)), ['runtime-directory-unsafe']);
  if (!needs(t, 'root')) return;
  const foreign = join(folder, 'foreign');
  mkdirSync(foreign, { mode: 0o700 });
  chownSync(foreign, 65534, 65534);
  assert.match(only(found(foreign), 'runtime-directory-unsafe').what, /belongs to user 65534/);
});
