import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { inodeOf } from '../../src/system/inode.js';
import { findOpenFiles } from '../../src/system/open-files.js';
import type { FileTarget, OpenFiles } from '../../src/system/open-files.js';
import { startActor } from '../holders/actor.js';

function folder(t: { after(fn: () => void): void }): string {
  const made = mkdtempSync(join(tmpdir(), 'open-'));
  t.after(() => rmSync(made, { recursive: true }));
  return made;
}

function file(path: string): FileTarget {
  writeFileSync(path, '', { flag: 'a' });
  return { kind: 'inode', inode: inodeOf(statSync(path, { bigint: true })) };
}

function summary({ files }: OpenFiles<FileTarget>): string[] {
  return files.map(({ pid, fd, access }) => `${pid} ${fd} ${access}`).toSorted();
}

test('found by what it is: under another name, by a hard link, and when it is deleted', async (t) => {
  const path = join(folder(t), 'disk.img');
  const target = file(path);
  linkSync(path, `${path}.hard`);
  symlinkSync(path, `${path}.soft`);
  const fds = [openSync(`${path}.hard`, 'r+'), openSync(`${path}.soft`, 'r'), openSync(path, 'a')];
  unlinkSync(path);
  const found = await findOpenFiles([target]);
  const access = ['read-write', 'read', 'write'];
  assert.deepEqual(
    summary(found),
    fds.map((fd, index) => `${process.pid} ${fd} ${access[index]}`).toSorted(),
  );
  assert.match(found.files.find(({ fd }) => fd === fds[2])?.path ?? '', /disk\.img \(deleted\)$/);
  for (const fd of fds) closeSync(fd);
  assert.deepEqual(summary(await findOpenFiles([target])), []);
});

test('many files in one walk, each with its own target', async (t) => {
  const made = folder(t);
  const targets = Array.from({ length: 300 }, (_, index) => file(join(made, `${index}.img`)));
  const fds = [7, 200].map((index) => openSync(join(made, `${index}.img`), 'r+'));
  const { files } = await findOpenFiles(targets);
  assert.deepEqual(new Set(files.map(({ target }) => target)), new Set([targets[7], targets[200]]));
  for (const fd of fds) closeSync(fd);
});

test('the locks of a descriptor, and of no other', async (t) => {
  const path = join(folder(t), 'disk.img');
  const target = file(path);
  await using actor = await startActor(`
    const path = ${JSON.stringify(path)};
    lock(fs.openSync(path, 'r+'), OFD, READ, 100, 2);
    lock(fs.openSync(path, 'r'), POSIX, READ, 5, 0);
    flock(fs.openSync(path, 'r'), 2);`);
  const { files } = await findOpenFiles([target]);
  assert.deepEqual(
    files.map(({ pid, access, locks }) => ({
      pid,
      access,
      locks: locks.map(({ kind, type, start, end }) => [kind, type, start, end]),
    })),
    [
      { pid: actor.pid, access: 'read-write', locks: [['OFD', 'read', 100, 101]] },
      { pid: actor.pid, access: 'read', locks: [['POSIX', 'read', 5, undefined]] },
      { pid: actor.pid, access: 'read', locks: [['FLOCK', 'write', 0, undefined]] },
    ],
  );
});

test('2,000 descriptors of one process are all found', async (t) => {
  const path = join(folder(t), 'disk.img');
  const target = file(path);
  await using actor = await startActor(
    `for (let i = 0; i < 2000; i++) fs.openSync(${JSON.stringify(path)}, 'r+');`,
  );
  const { files } = await findOpenFiles([target]);
  assert.equal(files.length, 2000);
  assert.equal(new Set(files.map(({ fd }) => fd)).size, 2000);
  assert.ok(files.every(({ pid }) => pid === actor.pid));
});

test('processes that come and go during the walk disturb nothing', async (t) => {
  const path = join(folder(t), 'disk.img');
  const target = file(path);
  const fd = openSync(path, 'r+');
  const churn = spawn('sh', ['-c', 'i=0; while [ $i -lt 400 ]; do sleep 0 & i=$((i+1)); done; wait']);
  const ended = once(churn, 'exit');
  let walks = 0;
  while (churn.exitCode === null && walks < 1000) {
    assert.deepEqual(summary(await findOpenFiles([target])), [`${process.pid} ${fd} read-write`]);
    walks++;
    await new Promise(setImmediate);
  }
  await ended;
  assert.ok(walks > 0);
  closeSync(fd);
});

/** A recorded /proc of one process with one descriptor on `path`. */
function recordedProc(root: string, path: string, fdinfo: string | undefined): void {
  mkdirSync(join(root, '42/fd'), { recursive: true });
  mkdirSync(join(root, '42/fdinfo'), { recursive: true });
  mkdirSync(join(root, '43'), { recursive: true });
  symlinkSync(path, join(root, '42/fd/9'));
  symlinkSync('socket:[12345]', join(root, '42/fd/10'));
  if (fdinfo !== undefined) writeFileSync(join(root, '42/fdinfo/9'), fdinfo);
}

test('a descriptor whose number is another file by the time it is read is not taken for it', async (t) => {
  const made = folder(t);
  const path = join(made, 'disk.img');
  const target = file(path);
  const ino = target.kind === 'inode' ? target.inode.ino : '';
  const cases: [fdinfo: string | undefined, found: number][] = [
    [`flags:\t02\nino:\t${ino}\n`, 1],
    ['flags:\t02\n', 1],
    [`flags:\t02\nino:\t1${ino}\n`, 0],
    ['nonsense', 0],
    [undefined, 0],
  ];
  for (const [index, [fdinfo, expected]] of cases.entries()) {
    const root = join(made, `proc${index}`);
    recordedProc(root, path, fdinfo);
    const { files, denied, hidden } = await findOpenFiles([target], { root });
    assert.equal(files.length, expected, fdinfo);
    assert.deepEqual(denied, []);
    assert.equal(hidden, true, 'a /proc without process 1 hides processes');
  }
});

test('without a /proc nothing is found, and that is said', async (t) => {
  const made = folder(t);
  const target = file(join(made, 'disk.img'));
  assert.deepEqual(await findOpenFiles([target], { root: join(made, 'none') }), {
    files: [],
    denied: [],
    hidden: true,
  });
});
