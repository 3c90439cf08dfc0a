import assert from 'node:assert/strict';
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkSameDisk } from '../../src/doctor/check-same-disk.js';
import type { Disk } from '../../src/doctor/host.js';
import { lookAtDisks } from '../../src/doctor/run-checks.js';
import { Identities } from '../../src/plan/identities.js';
import type { Seen } from '../../src/plan/look-at-path.js';
import { readSurroundings, type Surroundings } from '../../src/plan/surroundings.js';
import { privateFolder } from '../beds/private-folder.js';
import { lvmOnScsi, multipath, sysTree } from '../system/sys-tree.js';
import { ids, only } from './recorded-host.js';

const folder = privateFolder();
const surroundings = readSurroundings({});
const file = (name: string): string => {
  writeFileSync(join(folder, name), '');
  return join(folder, name);
};
const examine = (...paths: readonly string[]) =>
  checkSameDisk(lookAtDisks(paths, surroundings), surroundings);

test('two disks are two', () => {
  assert.deepEqual(examine(file('a'), file('b')), []);
  assert.deepEqual(examine(join(folder, 'a'), join(folder, 'a')), []);
});

test('a hard link and a symlink are the same disk', () => {
  const disk = file('disk');
  symlinkSync(disk, join(folder, 'symlink'));
  const bySymlink = examine(disk, join(folder, 'symlink'));
  assert.deepEqual(ids(bySymlink), ['same-disk']);
  assert.match(bySymlink[0]?.what ?? '', /symlink/);
  linkSync(disk, join(folder, 'link'));
  const byLink = examine(disk, join(folder, 'link'));
  // Both names were given: that there are two is not worth another word.
  assert.deepEqual(ids(byLink), ['same-disk']);
  assert.match(byLink[0]?.what ?? '', /hard link/);
  assert.match(byLink[0]?.subject ?? '', /disk and .*link/);
  assert.deepEqual(ids(examine(disk)), ['more-names']);
  assert.equal(examine(disk, join(folder, 'symlink'), join(folder, 'link')).length, 3);
});

test('a file in a directory that is given as a disk', () => {
  mkdirSync(join(folder, 'directory'));
  const inner = join(folder, 'directory/a.img');
  writeFileSync(inner, '');
  assert.deepEqual(ids(examine(join(folder, 'directory'), inner)), ['part-of-disk']);
  assert.deepEqual(ids(examine(join(folder, 'directory'), file('directory-not'))), []);
});

function device(number: string, path: string, all: Surroundings): Disk {
  const inode = { dev: '0:6', ino: number.replace(':', '') };
  const seen: Seen = { path, realPath: path, inode, storage: 'block', device: number };
  return { label: path, seen, resource: new Identities(all).resourceOf(seen, path) };
}

test('partitions, volumes and paths of recorded devices', (t) => {
  const sys = { ...surroundings, sys: sysTree(t, [...lvmOnScsi, ...multipath]) };
  const found = (...names: readonly (readonly [string, string])[]) =>
    checkSameDisk(
      names.map(([number, path]) => device(number, path, sys)),
      sys,
    );
  const [disk, one, two] = [
    ['8:0', '/dev/sda'],
    ['8:1', '/dev/sda1'],
    ['8:2', '/dev/sda2'],
  ] as const;
  const volume = ['253:0', '/dev/dm-0'] as const;
  assert.match(only(found(disk, two), 'part-of-disk').what, /^\/dev\/sda2 is a part of \/dev\/sda/);
  assert.match(only(found(volume, disk), 'part-of-disk').what, /^\/dev\/dm-0 is a part of/);
  assert.deepEqual(found(one, two), []);
  assert.deepEqual(found(one, volume), []);
  assert.deepEqual(ids(found(['8:16', '/dev/sdb'], ['8:32', '/dev/sdc'])), ['same-disk']);
  assert.deepEqual(ids(found(['253:5', '/dev/dm-5'], ['8:32', '/dev/sdc'])), ['same-disk']);
});
