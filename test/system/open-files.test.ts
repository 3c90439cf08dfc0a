import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { inodeOf } from '../../src/system/inode.js';
import { findOpenFiles } from '../../src/system/open-files.js';
import type { FileTarget, OpenFiles } from '../../src/system/open-files.js';
import { readProcessStat } from '../../src/system/process.js';
import { startActor, startProgram } from '../holders/actor.js';
import { needs, skipBecause } from '../needs.js';

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

test('10,000 descriptors of one process are all found', async (t) => {
  const hard = /^Max open files\s+\d+\s+(\d+|unlimited)/m.exec(
    readFileSync('/proc/self/limits', 'utf8'),
  )?.[1];
  if (Number(hard) < 10_100) return skipBecause(t, `a process may have ${hard} open files at most`);
  const path = join(folder(t), 'disk.img');
  const target = file(path);
  await using actor = await startActor(
    `for (let i = 0; i < 10000; i++) fs.openSync(${JSON.stringify(path)}, i % 2 ? 'r+' : 'r');`,
  );
  const { files, denied } = await findOpenFiles([target]);
  assert.equal(files.length, 10_000);
  assert.equal(new Set(files.map(({ fd }) => fd)).size, 10_000);
  assert.equal(files.filter(({ access }) => access === 'read-write').length, 5_000);
  assert.ok(files.every(({ pid, path: shown }) => pid === actor.pid && shown === path));
  assert.ok(!denied.includes(actor.pid));
});

test('calls in one turn share a walk, and each gets its own, also what both ask for', async (t) => {
  const made = folder(t);
  const [a, b, c] = ['a', 'b', 'c'].map((name) => file(join(made, name)));
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  const fds = ['a', 'b', 'c'].map((name) => openSync(join(made, name), 'r+'));
  const found = await Promise.all([
    findOpenFiles([a, b]),
    findOpenFiles([b]),
    findOpenFiles([c], { root: join(made, 'none') }),
    findOpenFiles([]),
  ]);
  const targets = found.map(({ files }) => files.map(({ target }) => target));
  assert.deepEqual(
    targets.map((list) => new Set(list)),
    [new Set([a, b]), new Set([b]), new Set(), new Set()],
  );
  assert.deepEqual(
    targets.map((list) => list.length),
    [2, 1, 0, 0],
  );
  assert.deepEqual(
    found.map(({ hidden }) => hidden),
    [false, false, true, false],
  );
  for (const fd of fds) closeSync(fd);
});

test('what is asked while a walk is under way gets a walk of its own', async (t) => {
  const path = join(folder(t), 'disk.img');
  const target = file(path);
  const first = findOpenFiles([target]);
  await new Promise(setImmediate);
  const fd = openSync(path, 'r+');
  const second = await findOpenFiles([target]);
  assert.deepEqual(summary(second), [`${process.pid} ${fd} read-write`]);
  await first;
  closeSync(fd);
});

test('a stopped process is seen like any other', async (t) => {
  const path = join(folder(t), 'disk.img');
  const target = file(path);
  await using actor = await startActor(`lock(fs.openSync(${JSON.stringify(path)}, 'r+'), OFD, WRITE, 0, 1);`);
  actor.child.kill('SIGSTOP');
  const { files, denied } = await findOpenFiles([target]);
  assert.deepEqual(
    files.map(({ pid, locks }) => [pid, locks.length]),
    [[actor.pid, 1]],
  );
  assert.ok(!denied.includes(actor.pid));
});

test('a holder that ends while it is looked at is never taken for something else', async (t) => {
  const path = join(folder(t), 'disk.img');
  const target = file(path);
  // One after the other, each for a millisecond.
  const loop = 'i=0; while [ $i -lt 5000 ]; do sleep 0.001 3<>"$0"; i=$((i+1)); done';
  const churn = spawn('sh', ['-c', loop, path]);
  const ended = once(churn, 'exit');
  // Some machines keep process 1 from everyone.
  const { denied: always } = await findOpenFiles([target]);
  let seen = 0;
  for (let walks = 0; seen < 20 && churn.exitCode === null && walks < 2000; walks++) {
    const { files, denied } = await findOpenFiles([target]);
    for (const one of files) {
      assert.deepEqual([one.path ?? path, one.access, one.fd >= 3], [path, 'read-write', true]);
    }
    assert.deepEqual(denied, always);
    seen += files.length;
    await new Promise(setImmediate);
  }
  churn.kill('SIGKILL');
  await ended;
  assert.ok(seen > 0);
});

test('a zombie has nothing open and hides nothing', async (t) => {
  const path = join(folder(t), 'disk.img');
  const target = file(path);
  await using parent = await startProgram(
    'sh',
    ['-c', 'sleep 0 3<>"$0" & echo ready $!; exec sleep 60', path],
    'ready',
  );
  const zombie = Number(/ready (\d+)/.exec(parent.output)?.[1]);
  for (let tries = 0; readProcessStat(zombie)?.state !== 'Z' && tries < 500; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.equal(readProcessStat(zombie)?.state, 'Z');
  const found = await findOpenFiles([target]);
  assert.deepEqual([summary(found), found.denied.includes(zombie)], [[], false]);
});

test('paths as they are: spaces, newlines, no UTF-8, deleted and only called so', async (t) => {
  const made = folder(t);
  const names: [name: Buffer, shown: string][] = [
    [Buffer.from(' with space '), ' with space '],
    [Buffer.from('new\nline'), 'new\nline'],
    [Buffer.from('back\\012slash'), 'back\\012slash'],
    [Buffer.from([0x61, 0xff, 0xc3]), 'a\\xff\\xc3'],
    [Buffer.from('\u{1f600} \u00fc'), '\u{1f600} \u00fc'],
    [Buffer.from('\ufffd'), '\ufffd'],
    [Buffer.from('called (deleted)'), 'called (deleted)'],
    [Buffer.from('gone'), 'gone (deleted)'],
  ];
  const paths = names.map(([name]) => Buffer.concat([Buffer.from(`${made}/`), name]));
  const fds = paths.map((path) => openSync(path, 'a'));
  const targets = paths.map((path): FileTarget => ({
    kind: 'inode',
    inode: inodeOf(statSync(path, { bigint: true })),
  }));
  unlinkSync(join(made, 'gone'));
  const { files } = await findOpenFiles(targets);
  const shown = new Map(files.map(({ target, path }) => [target, path]));
  assert.deepEqual(
    targets.map((target) => shown.get(target)),
    names.map(([, name]) => join(made, name)),
  );
  for (const fd of fds) closeSync(fd);
});

test('recorded: entries that are malformed or cannot be read hide no others', async (t) => {
  const made = folder(t);
  const path = join(made, 'disk.img');
  const target = file(path);
  const root = join(made, 'proc');
  recordedProc(root, path, 'flags:\t02\n');
  // No number, no file behind it, a loop; fdinfo that is a folder; a process whose fd is none.
  symlinkSync(path, join(root, '42/fd/x9'));
  symlinkSync(path, join(root, '42/fd/11'));
  mkdirSync(join(root, '42/fdinfo/11'));
  writeFileSync(join(root, '42/fdinfo/x9'), 'flags:\t02\n');
  symlinkSync('12', join(root, '42/fd/12'));
  mkdirSync(join(root, '50'));
  writeFileSync(join(root, '50/fd'), 'no folder');
  mkdirSync(join(root, '51'));
  symlinkSync('fd', join(root, '51/fd'));
  writeFileSync(join(root, '52'), 'no folder either');
  mkdirSync(join(root, '0'));
  mkdirSync(join(root, 'self'));
  const { files, denied } = await findOpenFiles([target], { root });
  assert.deepEqual(
    files.map(({ pid, fd }) => [pid, fd]),
    [[42, 9]],
  );
  assert.deepEqual(new Set(denied), new Set([50, 51, 52]));
});

test('recorded: all locks of a descriptor that has tens of thousands', async (t) => {
  const made = folder(t);
  const path = join(made, 'disk.img');
  const target = file(path);
  const root = join(made, 'proc');
  const lines = Array.from(
    { length: 30_000 },
    (_, at) => `lock:\t${at}: OFDLCK  ADVISORY  READ -1 fe:00:5 ${at} ${at}\n`,
  );
  recordedProc(root, path, `flags:\t02\n${lines.join('')}`);
  const { files } = await findOpenFiles([target], { root });
  assert.deepEqual(
    files.map(({ locks }) => locks.length),
    [30_000],
  );
});

test('what another user has open is not seen, and said so', async (t) => {
  if (!needs(t, 'root')) return;
  const path = join(folder(t), 'disk.img');
  file(path);
  chmodSync(dirname(path), 0o755);
  await using actor = await startActor(`fs.openSync(${JSON.stringify(path)}, 'r+');`);
  const source = `import { findOpenFiles } from ${JSON.stringify(new URL('../../src/system/open-files.ts', import.meta.url).href)};
    import { findMappings } from ${JSON.stringify(new URL('../../src/system/memory-maps.ts', import.meta.url).href)};
    process.setgid(65534);
    process.setuid(65534);
    const target = ${JSON.stringify({ ...file(path) })};
    const { files, denied } = await findOpenFiles([target]);
    const maps = await findMappings([target]);
    const pid = ${actor.pid};
    console.log(JSON.stringify([files.length, denied.includes(pid), denied.includes(process.pid), maps.denied.includes(pid), maps.denied.includes(process.pid)]));`;
  const output = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', source], {
    encoding: 'utf8',
  });
  assert.deepEqual(JSON.parse(output), [0, true, false, true, false]);
});
