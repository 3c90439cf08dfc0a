import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileOfProcess } from '../../src/system/file-of-process.js';
import { inodeOf } from '../../src/system/inode.js';
import { privateFolder } from '../beds/private-folder.js';

const folder = privateFolder();
const inodeAt = (path: string): unknown => inodeOf(statSync(path, { bigint: true }));

/** A recorded /proc with process 42, whose root is a folder with these mounts; gives the procfs and the root. */
function recorded(mounts: Readonly<Record<string, string>>): { proc: string; root: string } {
  const base = mkdtempSync(join(folder, 'host-'));
  const [proc, root] = [join(base, 'proc'), join(base, 'root')];
  for (const each of ['proc/42/fd', 'root/images', 'root/nfs', 'root/work']) {
    mkdirSync(join(base, each), { recursive: true });
  }
  for (const name of ['images/a.img', 'nfs/b.img', 'work/c.img']) writeFileSync(join(root, name), name);
  const lines = Object.entries(mounts).map(
    ([point, type], at) => `${at + 20} 1 8:${at} / ${point} rw - ${type} source rw\n`,
  );
  writeFileSync(join(proc, '42/mountinfo'), lines.join(''));
  symlinkSync(root, join(proc, '42/root'));
  symlinkSync('/work', join(proc, '42/cwd'));
  return { proc, root };
}

test('a file on local file systems, also by a relative path and over symlinks', () => {
  const { proc, root } = recorded({ '/': 'ext4', '/work': 'xfs' });
  symlinkSync('../images/a.img', join(root, 'work/link.img'));
  symlinkSync('/work', join(root, 'other'));
  const expected = { inode: inodeAt(join(root, 'images/a.img')), regular: true };
  assert.deepEqual(fileOfProcess(42, '/images/a.img', proc), expected);
  assert.deepEqual(fileOfProcess(42, '/other/link.img', proc), expected);
  assert.deepEqual(fileOfProcess(42, 'c.img', proc)?.inode, inodeAt(join(root, 'work/c.img')));
  assert.equal(fileOfProcess(42, '/images/missing.img', proc), undefined);
  assert.equal(fileOfProcess(42, '/images', proc)?.regular, false);
  assert.equal(fileOfProcess(43, '/images/a.img', proc), undefined);
});

test('a name on a file system that asks a server is never looked up', () => {
  for (const type of ['nfs4', 'fuse.sshfs', 'autofs', 'cifs', 'of no table']) {
    const { proc, root } = recorded({ '/': 'ext4', '/nfs': type.replaceAll(' ', '\\040') });
    symlinkSync('/nfs/b.img', join(root, 'images/link.img'));
    assert.equal(fileOfProcess(42, '/nfs/b.img', proc), undefined, type);
    assert.equal(fileOfProcess(42, '/images/link.img', proc), undefined, type);
  }
});

test('one that is open is seen by its descriptor, wherever it is', () => {
  const path = join(recorded({}).root, 'nfs/b.img');
  const proc = procWithOpen(path);
  assert.deepEqual(fileOfProcess(42, path, proc)?.inode, inodeAt(path));
  const link = join(folder, 'link.img');
  symlinkSync(path, link);
  assert.deepEqual(fileOfProcess(42, link, proc)?.inode, inodeAt(path));
});

/** Process 42 with the test's own root, on which the folder of a file is said to be NFS, and the file open. */
function procWithOpen(path: string): string {
  const proc = mkdtempSync(join(folder, 'proc-'));
  mkdirSync(join(proc, '42/fd'), { recursive: true });
  symlinkSync('/', join(proc, '42/root'));
  symlinkSync(path, join(proc, '42/fd/9'));
  const point = join(path, '..');
  writeFileSync(
    join(proc, '42/mountinfo'),
    `20 1 8:1 / / rw - ext4 source rw\n21 20 0:9 / ${point} rw - nfs4 s:/ rw\n`,
  );
  return proc;
}

test('symlinks that lead to one another end', () => {
  const { proc, root } = recorded({ '/': 'ext4' });
  symlinkSync('/images/two', join(root, 'images/one'));
  symlinkSync('/images/one', join(root, 'images/two'));
  assert.equal(fileOfProcess(42, '/images/one', proc), undefined);
});
