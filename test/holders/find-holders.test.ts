import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { describeProcess, findHolders } from '../../src/holders/find-holders.js';
import type { FoundHolders } from '../../src/holders/find-holders.js';
import { processStartTime } from '../../src/system/process.js';
import type { Holder } from '../../src/vocabulary.js';
import { needs, skipBecause } from '../needs.js';
import { resourceAt, startActor, startProgram, startQemu } from './actor.js';
import { attachLoop, attachPartitionedLoop } from './loop.js';

function image(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'holders-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'disk.img');
  writeFileSync(path, '');
  truncateSync(path, 8 << 20);
  return path;
}

function only(holders: readonly Holder[]): Holder {
  assert.equal(holders.length, 1, JSON.stringify(holders));
  const [holder] = holders;
  assert.ok(holder !== undefined);
  return holder;
}

const uuid = '7f9b1b0c-1d5e-4d0a-9b7a-0c2f4a1f6c11';

test('nobody: no holder, and a complete look wherever the kernel vouches for it', async (t) => {
  const path = image(t);
  const reader = openSync(path, 'r');
  const found = await findHolders(resourceAt(path));
  closeSync(reader);
  assert.deepEqual(found, { holders: [], complete: true, sawThisHost: true });
});

test('a QEMU that runs a guest is named, with its guest', async (t) => {
  if (!needs(t, 'qemu')) return;
  const path = image(t);
  await using qemu = await startQemu(path, ['-name', 'guest=web1,debug-threads=on', '-uuid', uuid]);
  const holder = only((await findHolders(resourceAt(path))).holders);
  const { evidence, since, ...rest } = holder;
  assert.deepEqual(rest, {
    guest: 'web1',
    uuid,
    program: 'qemu-system-x86_64',
    pid: qemu.pid,
    startTime: processStartTime(qemu.pid),
    user: describeProcess(process.pid)?.user,
    host: 'this host',
    mode: 'exclusive',
    through: ["QEMU's own image lock"],
    does: ['reads', 'writes', 'forbids other writers'],
    refuses: ['exclusive', 'shared', 'read', 'part'],
    remedy: `stop it (pid ${qemu.pid}), or wait for it`,
  });
  assert.match(since ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.ok(evidence.some((line) => line.includes(`/proc/${qemu.pid}/fd/`) && line.includes(path)));
  assert.ok(evidence.some((line) => /lock: OFDLCK ADVISORY READ -1 \S+ 100 10/.test(line)));
});

test('a QEMU that only reads is a reader; one that libvirt started is stopped through libvirt', async (t) => {
  if (!needs(t, 'qemu')) return;
  const path = image(t);
  const folder = join(path, '..');
  await using qemu = await startQemu(
    path,
    ['-name', 'web1', '-chardev', `socket,id=charmonitor,path=${folder}/monitor,server=on,wait=off`],
    ',readonly=on',
  );
  const holder = only((await findHolders(resourceAt(path))).holders);
  assert.deepEqual([holder.pid, holder.guest, holder.mode], [qemu.pid, 'web1', 'read']);
  assert.deepEqual(holder.through, ["QEMU's own image lock"]);
  assert.equal(holder.remedy, 'virsh shutdown web1, or wait for it');
});

test('who locks byte 0 beside a QEMU is a holder of its own, unless it is virtlockd', async (t) => {
  if (!needs(t, 'qemu')) return;
  const path = image(t);
  await using qemu = await startQemu(path, ['-name', 'web1']);
  await using locker = await startActor(
    `lock(fs.openSync(${JSON.stringify(path)}, 'r+'), POSIX, WRITE, 0, 1);`,
  );
  const { holders } = await findHolders(resourceAt(path));
  assert.deepEqual(
    holders.map(({ pid, through }) => [pid, through]),
    [
      [qemu.pid, ["QEMU's own image lock"]],
      [locker.pid, ['a lock on byte 0, as virtlockd takes it']],
    ],
  );
});

test('every kind of lock, its process and its words', async (t) => {
  const path = image(t);
  const cases: [code: string, through: string[], mode: string | undefined][] = [
    [`lock(fs.openSync(path, 'r+'), OFD, WRITE, 0, 1)`, ['Holdfast'], 'exclusive'],
    [
      `{ const fd = fs.openSync(path, 'r'); lock(fd, OFD, READ, 0, 1); lock(fd, OFD, READ, 3, 1); }`,
      ['Holdfast'],
      'read',
    ],
    [
      `lock(fs.openSync(path, 'r+'), POSIX, READ, 0, 1)`,
      ['a lock on byte 0, as virtlockd takes it'],
      'shared',
    ],
    [`lock(fs.openSync(path, 'r'), POSIX, READ, 0, 0)`, ['a POSIX read lock on bytes 0 to the end'], 'read'],
    [`flock(fs.openSync(path, 'r'), 2)`, ['flock(2)'], undefined],
    [`flock(fs.openSync(path, 'r+'), 2)`, ['flock(2)', 'no lock: open for writing'], undefined],
    [`fs.openSync(path, 'a')`, ['no lock: open for writing'], undefined],
    [
      `lock(fs.openSync(path, 'r+'), OFD, WRITE, 5000, 1)`,
      ['an OFD write lock on bytes 5000 to 5000', 'no lock: open for writing'],
      undefined,
    ],
  ];
  for (const [code, through, mode] of cases) {
    await using actor = await startActor(`const path = ${JSON.stringify(path)}; ${code};`);
    const found = await findHolders(resourceAt(path));
    const holder = only(found.holders);
    assert.deepEqual([holder.pid, holder.through, holder.mode], [actor.pid, through, mode], code);
    assert.deepEqual((await findHolders(resourceAt(path), { ignorePids: [actor.pid] })).holders, []);
  }
});

test('several descriptors of a process are one holder, several processes are several', async (t) => {
  const path = image(t);
  linkSync(path, `${path}.hard`);
  const shared = (name: string): string => `{
    const fd = fs.openSync(${JSON.stringify(name)}, 'r+'); lock(fd, OFD, READ, 0, 1); lock(fd, OFD, READ, 2, 1); }`;
  await using first = await startActor(`
    fs.openSync(${JSON.stringify(path)}, 'r+');
    ${shared(`${path}.hard`)}
    for (let i = 0; i < 100; i++) fs.openSync(${JSON.stringify(path)}, 'r+');`);
  await using second = await startActor(shared(path));
  const { holders } = await findHolders(resourceAt(path));
  assert.deepEqual(new Set(holders.map(({ pid }) => pid)), new Set([first.pid, second.pid]));
  assert.equal(holders.length, 2);
  assert.ok(holders.every(({ mode }) => mode === 'shared'));
  const many = holders.find(({ pid }) => pid === first.pid);
  assert.deepEqual(many?.through, ['Holdfast']);
  assert.ok(many?.evidence.includes('and 86 more descriptors'));
});

test('a writer without a lock under one that has it', async (t) => {
  const path = image(t);
  await using parent = await startActor(`
    lock(fs.openSync(${JSON.stringify(path)}, 'r+'), OFD, WRITE, 0, 1);
    const { spawn } = await import('node:child_process');
    const child = spawn('sh', ['-c', 'exec sleep 1000 4<>"$0"', ${JSON.stringify(path)}]);
    process.on('exit', () => child.kill('SIGKILL'));
    process.on('SIGTERM', () => process.exit());
    while (!fs.existsSync('/proc/' + child.pid + '/fd/4')) await new Promise(setImmediate);`);
  try {
    const { holders } = await findHolders(resourceAt(path));
    const child = holders.find(({ pid }) => pid !== parent.pid);
    assert.deepEqual(child?.through, [`open for writing, under the lock of process ${parent.pid}`]);
    assert.equal(holders.length, 2);
  } finally {
    parent.child.stdin?.end();
  }
  if (parent.child.exitCode === null) await new Promise((resolve) => parent.child.once('exit', resolve));
});

test('a program with a bad name', async (t) => {
  const path = image(t);
  await using actor = await startActor(
    `fs.writeFileSync('/proc/self/comm', 'a) R 1 (\\n'); fs.openSync(${JSON.stringify(path)}, 'r+');`,
  );
  assert.equal(only((await findHolders(resourceAt(path))).holders).pid, actor.pid);
});

test('a loop device on a file, its mounts and who writes its partitions', async (t) => {
  if (!needs(t, 'root', 'losetup', 'mkfs.ext4')) return;
  const path = image(t);
  const device = attachPartitionedLoop(t, path);
  const point = join(path, '../a mount');
  mkdirSync(point);
  execFileSync('mkfs.ext4', ['-q', '-F', `${device}p2`]);
  await using writer = await startActor(`fs.openSync(${JSON.stringify(`${device}p1`)}, 'r+');`);
  execFileSync('mount', [`${device}p2`, point]);
  let ofFile: FoundHolders;
  let ofDevice: FoundHolders;
  let ofPartition: FoundHolders;
  try {
    ofFile = await findHolders(resourceAt(path));
    ofDevice = await findHolders(resourceAt(device));
    ofPartition = await findHolders(resourceAt(`${device}p1`));
  } finally {
    execFileSync('umount', [point]);
  }
  const summary = ({ holders }: FoundHolders): unknown =>
    holders.map(({ pid, program, through }) => [pid ?? program, ...through]);
  assert.deepEqual(summary(ofFile), [
    [writer.pid, `no lock: open for writing (on ${device}p1)`],
    ['the kernel', `loop device ${device}`, `${device}p2 mounted on ${point}`],
  ]);
  assert.equal(ofFile.holders[1]?.remedy, `umount '${point}', then losetup -d ${device}`);
  assert.deepEqual(summary(ofDevice), [
    [writer.pid, `no lock: open for writing (on ${device}p1)`],
    ['the kernel', `${device}p2 mounted on ${point}`],
  ]);
  assert.deepEqual(summary(ofPartition), [[writer.pid, 'no lock: open for writing']]);
});

test('a block device by any of its nodes', async (t) => {
  if (!needs(t, 'root', 'losetup')) return;
  const path = image(t);
  const device = attachLoop(t, path);
  const node = join(path, '../node');
  execFileSync('mknod', [node, 'b', '7', device.replace('/dev/loop', '')]);
  let writer;
  try {
    writer = await startActor(`fs.openSync(${JSON.stringify(node)}, 'r+');`);
  } catch {
    skipBecause(t, 'device nodes do not work in the folder for temporary files (nodev)');
    return;
  }
  await using _ = writer;
  const holder = only((await findHolders(resourceAt(device))).holders);
  assert.deepEqual([holder.pid, holder.through], [writer.pid, ['no lock: open for writing']]);
});

test('an overlay file system gives files another device number: its locks are found all the same', async (t) => {
  if (!needs(t, 'root')) return;
  const path = image(t);
  const folder = join(path, '..');
  for (const name of ['upper', 'work', 'lower', 'merged']) mkdirSync(join(folder, name));
  writeFileSync(join(folder, 'lower/disk.img'), 'x');
  const merged = join(folder, 'merged');
  try {
    const options = `lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/work`;
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, merged], { stdio: 'pipe' });
  } catch {
    skipBecause(t, 'overlay cannot be mounted on the folder for temporary files');
    return;
  }
  try {
    const file = join(merged, 'disk.img');
    await using actor = await startActor(
      `lock(fs.openSync(${JSON.stringify(file)}, 'r+'), OFD, WRITE, 0, 1);`,
    );
    const holder = only((await findHolders(resourceAt(file))).holders);
    assert.deepEqual([holder.pid, holder.through], [actor.pid, ['Holdfast']]);
  } finally {
    execFileSync('umount', [merged]);
  }
});

test('what cannot be seen is said: network disks, other hosts', async (t) => {
  const network = await findHolders({
    kind: 'disk',
    identity: 'rbd:x',
    label: 'rbd:x',
    storage: 'network',
    scope: 'cluster',
  });
  assert.equal(network.complete, false);
  assert.match(network.unseen ?? '', /network disk/);
  const shared = await findHolders(resourceAt(image(t), { scope: 'cluster' }));
  assert.deepEqual(shared, {
    holders: [],
    complete: false,
    sawThisHost: true,
    unseen: 'programs on other hosts that reach the same storage',
  });
  const name = await findHolders({
    kind: 'domain',
    identity: 'domain:x',
    label: 'x',
    storage: 'name',
    scope: 'cluster',
  });
  assert.deepEqual(name, { holders: [], complete: true, sawThisHost: true });
});

test('a file that is gone, or never was, has no holder', async (t) => {
  const path = image(t);
  const resource = resourceAt(path);
  // Kept open for reading, or another file could get its inode number meanwhile.
  const fd = openSync(path, 'r');
  t.after(() => closeSync(fd));
  rmSync(path);
  assert.deepEqual((await findHolders(resource)).holders, []);
  const { inode: _, ...unplanned } = resource;
  assert.deepEqual(await findHolders(unplanned), { holders: [], complete: true, sawThisHost: true });
});

const unprivileged = fileURLToPath(new URL('./unprivileged-look.ts', import.meta.url));

test('without privileges: locks show without their process, and what was not seen is said', async (t) => {
  if (!needs(t, 'root')) return;
  const path = image(t);
  await using posix = await startActor(
    `lock(fs.openSync(${JSON.stringify(path)}, 'r+'), POSIX, READ, 0, 1);`,
  );
  await using _ofd = await startActor(`lock(fs.openSync(${JSON.stringify(path)}, 'r+'), OFD, READ, 100, 2);`);
  const look = await startProgram(process.execPath, ['--import', 'tsx', unprivileged, path], '\n');
  await using _ = look;
  const { holders, complete, unseen, unlocked } = JSON.parse(look.output) as FoundHolders & {
    unlocked: unknown;
  };
  assert.equal(complete, false);
  assert.match(unseen ?? '', /^what \d+ processes have open, which cannot be looked into \(look as root\)$/);
  const words = new Map(holders.map(({ pid, program, through }) => [`${pid} ${program}`, through]));
  assert.deepEqual(
    words,
    new Map([
      [`${posix.pid} node`, ['a lock on byte 0, as virtlockd takes it']],
      ['undefined undefined', ["QEMU's own image lock"]],
    ]),
  );
  assert.equal(
    holders.find(({ pid }) => pid === undefined)?.remedy,
    'look again as root to see which process it is',
  );
  assert.deepEqual(unlocked, [], 'whether anyone writes without a lock cannot be told');
});
