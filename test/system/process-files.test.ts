/** What a path is for another process. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { inodeOf } from '../../src/system/inode.js';
import { localFileAt, mountsOf, openRegularFiles, wholePathOf } from '../../src/system/process-files.js';

test('a relative path is in the folder of the process', async (t) => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'folder of a process ')));
  const child = spawn('sleep', ['1000'], { cwd: folder });
  t.after(() => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });
  await once(child, 'spawn');
  const pid = child.pid ?? 0;
  assert.equal(wholePathOf(pid, 'top.qcow2'), join(folder, 'top.qcow2'));
  assert.equal(wholePathOf(pid, '/top.qcow2'), '/top.qcow2');
  assert.equal(wholePathOf(pid, 'top.qcow2', '/nowhere'), 'top.qcow2');
});

test('a path is followed as the kernel does, and not onto a file system that is not local', (t) => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'local ')));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'a/b'), { recursive: true });
  const file = join(folder, 'a/b/disk.img');
  writeFileSync(file, '');
  symlinkSync('../b', join(folder, 'a/b/self'));
  symlinkSync(join(folder, 'a'), join(folder, 'absolute'));
  symlinkSync('loop', join(folder, 'loop'));
  const mounts = mountsOf(process.pid);
  const at = (path: string, isLocal = (): boolean => true): unknown =>
    localFileAt(process.pid, join(folder, '.') + path, mounts, isLocal);
  const inode = inodeOf(statSync(file, { bigint: true }));
  for (const path of [
    '/a/b/disk.img',
    '//a/./b/disk.img',
    '/a/b/self/self/disk.img',
    '/absolute/b/disk.img',
    '/absolute/../a/b/disk.img',
    `/absolute/b/self/../../${'../'.repeat(30)}${file}`,
  ])
    assert.deepEqual(at(path), inode, path);
  for (const none of ['/a', '/a/none', '/a/b/disk.img/x', '/loop', ''])
    assert.equal(at(none), undefined, none);
  assert.equal(
    at('/a/b/disk.img', () => false),
    undefined,
  );
  // What is mounted there is of another kind: nothing on it is looked at, whatever the way.
  const [root] = mounts.get('/') ?? [];
  assert.ok(root !== undefined);
  const far = { ...root, point: join(folder, 'a'), type: 'nfs4' };
  const more = new Map([...mounts, [far.point, [far]]]);
  for (const path of ['a/b/disk.img', 'absolute/b/disk.img'])
    assert.equal(
      localFileAt(process.pid, join(folder, path), more, ({ type }) => type !== 'nfs4'),
      undefined,
    );
});

test('the regular files that are open, and nothing else', (t) => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'open ')));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'disk.img');
  writeFileSync(path, '');
  const fds = [openSync(path, 'r'), openSync(folder, 'r')];
  t.after(() => fds.forEach((fd) => closeSync(fd)));
  const found = openRegularFiles(process.pid).filter(({ name }) => name.startsWith(folder));
  const inode = inodeOf(statSync(path, { bigint: true }));
  assert.deepEqual(found, [{ path: `/proc/${process.pid}/fd/${fds[0]}`, name: path, inode }]);
});
