/** A file and its namesake in a snapshot: on btrfs both have one inode number, and one device in the table of locks. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findHolders } from '../../src/holders/find-holders.js';
import { needs, skipBecause } from '../needs.js';
import { resourceAt, startActor } from './actor.js';

function isThere(program: string): boolean {
  try {
    execFileSync('sh', ['-c', 'command -v "$1"', 'sh', program], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

test('a lock is on one of the two, and so is who has it', async (t) => {
  if (!needs(t, 'root', 'losetup')) return;
  if (!isThere('mkfs.btrfs'))
    return skipBecause(t, 'mkfs.btrfs is not installed (Debian package btrfs-progs)');
  if (!readFileSync('/proc/filesystems', 'utf8').includes('\tbtrfs\n'))
    return skipBecause(t, 'this kernel has no btrfs');
  const folder = mkdtempSync(join(tmpdir(), 'btrfs-'));
  const [image, point] = [join(folder, 'fs.img'), join(folder, 'mnt')];
  writeFileSync(image, '');
  truncateSync(image, 256 << 20);
  mkdirSync(point);
  execFileSync('mkfs.btrfs', ['-q', image]);
  execFileSync('mount', ['-o', 'loop', image, point]);
  t.after(() => {
    execFileSync('umount', [point]);
    rmSync(folder, { recursive: true });
  });
  const btrfs = (...args: readonly string[]): Buffer => execFileSync('btrfs', ['subvolume', ...args]);
  btrfs('create', join(point, 'images'));
  const path = join(point, 'images/disk.img');
  writeFileSync(path, Buffer.alloc(8192));
  btrfs('snapshot', join(point, 'images'), join(point, 'before'));
  const namesake = join(point, 'before/disk.img');
  assert.equal(statSync(namesake).ino, statSync(path).ino);

  const pids = async (of: string): Promise<unknown> => {
    const { holders } = await findHolders({ ...resourceAt(of), realPath: of }, { everyone: true });
    return holders.map(({ pid }) => pid);
  };
  for (const [access, take] of [
    ['r+', 'lock(fd, POSIX, WRITE, 0, 1);'],
    ['r', 'lock(fd, OFD, READ, 100, 0);'],
  ] as const) {
    const open = `const fd = fs.openSync(${JSON.stringify(namesake)}, '${access}');`;
    await using actor = await startActor(`${open} ${take}`);
    assert.deepEqual(await pids(namesake), [actor.pid], take);
    assert.deepEqual(await pids(path), [], take);
  }

  // A flock cannot be asked for, but one on another file system is told by that: memory has small inode numbers too.
  const memory = join(folder, 'memory');
  mkdirSync(memory);
  execFileSync('mount', ['-t', 'tmpfs', 'none', memory]);
  try {
    const wanted = statSync(path).ino;
    let other = '';
    for (let count = 0; count < 2 * wanted; count++) {
      other = join(memory, String(count));
      writeFileSync(other, '');
      if (statSync(other).ino === wanted) break;
    }
    assert.equal(statSync(other).ino, wanted);
    await using actor = await startActor(`flock(fs.openSync(${JSON.stringify(other)}, 'r'), 2);`);
    assert.ok(actor.pid > 0);
    assert.deepEqual(await pids(path), []);
  } finally {
    execFileSync('umount', [memory]);
  }
});
