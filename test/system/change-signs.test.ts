import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { folderSign, lockSign, pathSign, stackSign, TableChanges } from '../../src/system/change-signs.js';
import { privateFolder } from '../beds/private-folder.js';
import { needs } from '../needs.js';

const folder = privateFolder();

const table = `1: OFDLCK ADVISORY  WRITE -1 fe:00:77 0 0
2: POSIX  ADVISORY  READ 812 fe:00:770 0 EOF
3: OFDLCK ADVISORY  READ -1 fe:00:77 100 101
`;

test('the locks of one inode, whatever number and order they have', () => {
  const sign = lockSign(table, '77');
  assert.equal(sign.split('\n').length, 2);
  const other = `1: FLOCK  ADVISORY  WRITE 5 fe:00:3 0 EOF
2: OFDLCK ADVISORY  READ -1 fe:00:77 100 101
3: OFDLCK ADVISORY  WRITE -1 fe:00:77 0 0
`;
  assert.equal(lockSign(other, '77'), sign);
  assert.equal(lockSign(table, '7'), '');
  assert.notEqual(lockSign(table.replace('100 101', '100 100'), '77'), sign);
});

test('a path that leads to another file', () => {
  const path = join(folder, 'a');
  assert.equal(pathSign(path), 'ENOENT');
  writeFileSync(path, '');
  const before = pathSign(path);
  writeFileSync(path, 'more');
  assert.equal(pathSign(path), before);
  writeFileSync(`${path}.new`, '');
  renameSync(`${path}.new`, path);
  assert.notEqual(pathSign(path), before);
});

test('what comes and goes in a folder, and a folder that is not there', () => {
  const path = join(folder, 'records');
  const none = folderSign(path);
  mkdirSync(path);
  const empty = folderSign(path);
  assert.notEqual(empty, none);
  writeFileSync(join(path, 'one'), '');
  assert.notEqual(folderSign(path), empty);
});

test('what stands on a device', () => {
  const holders = join(folder, 'sys/dev/block/8:0/holders');
  const root = join(folder, 'sys');
  assert.equal(stackSign('8:0', root), '');
  mkdirSync(join(holders, 'dm-1'), { recursive: true });
  mkdirSync(join(holders, 'dm-0'));
  assert.equal(stackSign('8:0', root), 'dm-0 dm-1');
  rmSync(join(holders, 'dm-1'), { recursive: true });
  assert.equal(stackSign('8:0', root), 'dm-0');
});

test('a mount shows once', (t) => {
  if (!needs(t, 'root')) return;
  const tables = new TableChanges();
  t.after(() => tables.close());
  const point = join(folder, 'mount');
  mkdirSync(point);
  // Others may mount something on this host meanwhile, but not for ever.
  for (let round = 0; round < 100 && tables.changed(); round++);
  execFileSync('mount', ['-t', 'tmpfs', 'holdfast-test', point]);
  t.after(() => execFileSync('umount', [point]));
  assert.equal(tables.changed(), true);
  for (let round = 0; round < 100 && tables.changed(); round++);
  assert.equal(tables.changed(), false);
});
