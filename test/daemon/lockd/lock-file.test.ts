import assert from 'node:assert/strict';
import { closeSync, linkSync, openSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isStillAt, takeLockFile } from '../../../src/daemon/lockd/lock-file.js';
import { openedLeadsTo } from '../../../src/drivers/fcntl/lock-file.js';
import { tryLock, unlockAll } from '../../../src/system/ofd-lock.js';
import { commandFolder } from '../../beds/command.js';
import { firstChild, startGlusterFs, type GlusterFs } from '../../beds/glusterfs.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = commandFolder();

test('a file that was removed is not what a lock of its name is', () => {
  const path = join(folder, 'local');
  const first = takeLockFile({ path, shared: false, autocreate: true, inLockspace: true });
  assert.equal(typeof first, 'number');
  unlinkSync(path);
  const second = takeLockFile({ path, shared: false, autocreate: true, inLockspace: true });
  assert.equal(typeof second, 'number');
  for (const fd of [first, second]) if (typeof fd === 'number') closeSync(fd);
});

// A backup that copies by hard links, or another user where fs.protected_hardlinks is 0.
test('a second name does not hide that the file is gone from its place', () => {
  const path = join(folder, 'linked');
  writeFileSync(path, '', { mode: 0o600 });
  const fd = openSync(path, 'r+');
  linkSync(path, `${path}.backup`);
  assert.equal(isStillAt(fd, path), true);
  unlinkSync(path);
  assert.equal(isStillAt(fd, path), false);
  writeFileSync(path, '', { mode: 0o600 });
  assert.equal(isStillAt(fd, path), false, "another's file");
  renameSync(`${path}.backup`, path);
  assert.equal(isStillAt(fd, path), true);
  renameSync(path, `${path}.moved`);
  symlinkSync(`${path}.moved`, path);
  assert.equal(isStillAt(fd, path), false, 'a symlink is no file of a lockspace');
  closeSync(fd);
});

describe('a lockspace on GlusterFS', { skip: lacks('root', 'unshare', 'glusterfs') }, () => {
  let gluster: GlusterFs;
  before(async () => {
    gluster = await startGlusterFs(folder);
  });
  after(() => gluster?.stop());

  // What the daemon asks, and what the fcntl driver asks.
  for (const [who, isStillThere] of [
    ['daemon', isStillAt],
    ['fcntl', (fd: number, path: string): boolean => openedLeadsTo(path, fd)],
  ] as const) {
    test(`a file that another host removes between open and lock is seen to be removed: ${who}`, async () => {
      // A program in there leads to its mounts.
      const inside = gluster.start('sleep', ['1000']);
      await until(() => firstChild(inside.pid) > 0, 'a program beside GlusterFS');
      const [one = '', two = ''] = gluster.mounts.map((mount) =>
        join(`/proc/${firstChild(inside.pid)}/root`, mount, `file-${who}`),
      );
      writeFileSync(one, '', { mode: 0o600 });
      const theirs = openSync(one, 'r+');
      assert.equal(tryLock(theirs, 'write', 0), true);
      const ours = openSync(two, 'r+');
      assert.equal(tryLock(ours, 'write', 0), false);
      assert.equal(isStillThere(ours, two), true);
      unlinkSync(one);
      unlockAll(theirs);
      // Nothing else tells: the lock is granted on a file that nobody will ever look at.
      assert.equal(tryLock(ours, 'write', 0), true);
      assert.equal(isStillThere(ours, two), false);
      for (const fd of [theirs, ours]) closeSync(fd);
    });
  }
});
