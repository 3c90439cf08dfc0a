/** Real programs on a disk, each in the words that a person is told. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { findHolders, findUnlockedUse } from '../../src/holders/find-holders.js';
import { readProcessStat } from '../../src/system/process.js';
import type { Holder } from '../../src/vocabulary.js';
import { commandFolder, endLeftProcesses, start, type Running } from '../beds/command.js';
import { end, qcow2Disk, rawDisk, startQemu } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { startVirtlockd } from '../beds/virtlockd.js';
import { lacks, needs, skipBecause } from '../needs.js';
import { resourceAt, startActor } from './actor.js';
import { attachLoop, attachPartitionedLoop } from './loop.js';

const folder = commandFolder();
afterEach(endLeftProcesses);

let disks = 0;
const disk = (): string => rawDisk(join(folder, `disk ${++disks}.img`));
const everyone = async (path: string): Promise<readonly Holder[]> =>
  (await findHolders(resourceAt(path), { everyone: true })).holders;

async function only(path: string): Promise<Holder> {
  const found = await everyone(path);
  const [holder] = found;
  assert.ok(found.length === 1 && holder !== undefined, JSON.stringify(found));
  return holder;
}

/** What matters to a person: who, the way, the work, what it keeps out. */
function told({ guest, name, program, through, does, refuses }: Holder): unknown[] {
  return [guest ?? name ?? program, through, does ?? [], refuses];
}

const all = ['exclusive', 'shared', 'read', 'part'];
const writers = ['exclusive', 'shared'];
const qemuLock = ["QEMU's own image lock"];

async function hasOpen(running: Running, path: string): Promise<void> {
  const { ino } = statSync(path);
  const opens = (): boolean =>
    readdirSync(`/proc/${running.pid}/fd`).some((fd) => {
      try {
        return statSync(`/proc/${running.pid}/fd/${fd}`).ino === ino;
      } catch {
        return false;
      }
    });
  await until(opens, `${path} to be opened: ${running.stderr}`);
}

describe('QEMU', { skip: lacks('qemu', 'qemu-img') }, () => {
  test('a writer, a reader, one with -U, one that shares', async () => {
    const cases = [
      [{}, ['reads', 'writes', 'forbids other writers'], all],
      [{ readonly: true }, ['reads', 'forbids other writers'], ['exclusive', 'shared', 'part']],
      [{ readonly: true, forceShare: true }, ['reads'], []],
      [{ shareRw: true }, ['reads', 'writes'], ['exclusive', 'read', 'part']],
    ] as const;
    for (const [kind, does, refuses] of cases) {
      const path = disk();
      const qemu = await startQemu('web1', { path, format: 'raw', ...kind });
      assert.deepEqual(told(await only(path)), ['web1', qemuLock, does, refuses]);
      await end(qemu);
    }
  });

  test('a qcow2 writer resizes too; a guest that is stopped is said to be', async () => {
    const path = qcow2Disk(join(folder, 'stopped.qcow2'));
    const qemu = await startQemu('web1', { path, format: 'qcow2' });
    process.kill(qemu.pid, 'SIGSTOP');
    await until(() => readProcessStat(qemu.pid)?.state === 'T', 'it to stop');
    const holder = await only(path);
    assert.deepEqual(holder.does, [
      'reads',
      'writes',
      'resizes',
      'forbids other writers',
      'forbids others to resize',
      'is stopped by a signal',
    ]);
    assert.match(holder.remedy ?? '', new RegExp(`^let it go on \\(kill -CONT ${qemu.pid}\\)`));
    process.kill(qemu.pid, 'SIGCONT');
  });

  test('qemu-img convert under way: from one disk, into another', async () => {
    const [from, into] = [disk(), join(folder, 'copy.img')];
    execFileSync('truncate', ['-s', '64M', from]);
    execFileSync('dd', ['if=/dev/urandom', `of=${from}`, 'bs=1M', 'count=64', 'conv=notrunc', 'status=none']);
    const copy = start('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', '-r', '1M', from, into]);
    await until(() => {
      try {
        return statSync(into).blocks > 0;
      } catch {
        return false;
      }
    }, 'the copy to begin');
    const source = await only(from);
    assert.deepEqual(source.does, [
      'reads',
      'forbids other writers',
      'forbids others to resize',
      'copies from it (qemu-img convert)',
    ]);
    assert.deepEqual([source.program, source.refuses], ['qemu-img', ['exclusive', 'shared', 'part']]);
    assert.equal(source.remedy, 'wait for qemu-img to end');
    const target = await only(into);
    assert.equal(target.does?.at(-1), 'copies into it (qemu-img convert)');
    await end(copy);
  });

  test('qemu-nbd and qemu-storage-daemon', { skip: lacks('qemu-nbd', 'qemu-storage-daemon') }, async () => {
    const path = disk();
    const socket = join(folder, 'nbd.sock');
    const server = start('qemu-nbd', ['-f', 'raw', '-k', socket, '-t', path]);
    await hasOpen(server, path);
    // It lets others write as well; what it holds are QEMU's bytes 100, 101 and 203.
    const isLocked = async (): Promise<boolean> => (await everyone(path))[0]?.mode === 'shared';
    await until(isLocked, 'its lock');
    const exporter = await only(path);
    assert.equal(exporter.does?.at(-1), `exports it over NBD at ${socket} (qemu-nbd)`);
    assert.deepEqual([exporter.program, exporter.refuses], ['qemu-nbd', ['exclusive', 'read', 'part']]);
    await end(server);

    const other = start('qemu-storage-daemon', [
      ...['--blockdev', `driver=file,node-name=f,filename=${path}`],
      ...['--nbd-server', `addr.type=unix,addr.path=${join(folder, 'qsd.sock')}`],
      ...['--export', 'type=nbd,id=e,node-name=f,writable=on'],
    ]);
    await hasOpen(other, path);
    await until(isLocked, 'its lock');
    const daemon = await only(path);
    assert.equal(daemon.program, 'qemu-storage-daemon');
    assert.equal(daemon.does?.at(-1), 'exports it over nbd (qemu-storage-daemon)');
  });

  test('on a node of the device of its own, as libvirt gives one: its lock is met by nobody', async (t) => {
    if (!needs(t, 'root', 'losetup')) return;
    const device = attachLoop(t, disk());
    const node = join(folder, 'own-node');
    execFileSync('mknod', [node, 'b', '7', device.replace('/dev/loop', '')]);
    let qemu: Running;
    try {
      qemu = await startQemu('web1', { path: node, format: 'raw' });
    } catch {
      skipBecause(t, 'device nodes do not work in the folder for temporary files (nodev)');
      return;
    }
    const { through, refuses } = await only(device);
    assert.deepEqual(through, [
      "QEMU's own image lock on another node of the device",
      'no lock: open for writing',
    ]);
    assert.deepEqual(refuses, writers);
    const unlocked = await findUnlockedUse([resourceAt(device)]);
    assert.equal(unlocked.get(device)?.[0]?.pid, qemu.pid);
    await end(qemu);
  });
});

test('nbdkit by its plugin', { skip: lacks('nbdkit', 'qemu-io') }, async () => {
  const path = disk();
  const socket = join(folder, 'nbdkit.sock');
  const server = start('nbdkit', ['-f', '-U', socket, 'file', path]);
  await until(() => {
    try {
      return statSync(socket).isSocket();
    } catch {
      return false;
    }
  }, 'nbdkit');
  const client = start('qemu-io', ['-f', 'raw', `nbd+unix:///?socket=${socket}`]);
  await hasOpen(server, path);
  const [program, through, does, refuses] = told(await only(path));
  assert.deepEqual([program, refuses], ['nbdkit', writers]);
  assert.deepEqual(through, ['no lock: open for writing']);
  assert.deepEqual(does, ['serves it over NBD (nbdkit file)']);
  await end(client);
});

test('dd, which takes no lock; a reader of the kind; a lease; a read-only map', async () => {
  const path = disk();
  const writer = start('dd', [`of=${path}`, 'conv=notrunc', 'status=none']);
  await hasOpen(writer, path);
  assert.deepEqual(told(await only(path)), ['dd', ['no lock: open for writing'], [], writers]);
  await end(writer);

  await using reader = await startActor(`fs.openSync(${JSON.stringify(path)}, 'r');`);
  assert.deepEqual((await findHolders(resourceAt(path))).holders, [], 'only for everyone');
  const shown = await only(path);
  assert.deepEqual(told(shown), ['node', ['reads it, without a lock'], [], []]);
  assert.deepEqual([shown.pid, shown.remedy], [reader.pid, undefined]);
  await reader[Symbol.asyncDispose]();

  await using leased = await startActor(`
    const setLease = createLease();
    function createLease() {
      const call = createRequire(${JSON.stringify(import.meta.url)})('koffi').load('libc.so.6').func('int fcntl(int, int, int)');
      return (fd) => { if (call(fd, 1024, 0) !== 0) throw new Error('no lease'); };
    }
    setLease(fs.openSync(${JSON.stringify(path)}, 'r'));`);
  assert.deepEqual(told(await only(path)), ['node', ['a file lease', 'reads it, without a lock'], [], []]);
  await leased[Symbol.asyncDispose]();

  await using mapped = await startActor(`
    const fd = fs.openSync(${JSON.stringify(path)}, 'r');
    mmap(null, 4096, 1, 1, fd, 0);
    fs.closeSync(fd);`);
  assert.deepEqual((await findHolders(resourceAt(path))).holders, []);
  assert.deepEqual(told(await only(path)), ['node', ['has it mapped for reading, without a lock'], [], []]);
  await mapped[Symbol.asyncDispose]();

  await using mapsWriting = await startActor(`
    const fd = fs.openSync(${JSON.stringify(path)}, 'r+');
    mmap(null, 4096, 3, 1, fd, 0);
    fs.closeSync(fd);`);
  for (const holder of [await only(path), ...(await findHolders(resourceAt(path))).holders]) {
    assert.deepEqual(told(holder), ['node', ['no lock: mapped for writing'], [], writers]);
    assert.equal(holder.pid, mapsWriting.pid);
    assert.match(holder.evidence[0] ?? '', /^\/proc\/\d+\/maps: [0-9a-f]+-[0-9a-f]+ rw-s/);
  }
});

test('below a partition: its disk, the file behind, and another loop device on that', async (t) => {
  if (!needs(t, 'root', 'losetup', 'mkfs.ext4')) return;
  const path = disk();
  execFileSync('truncate', ['-s', '8M', path]);
  const device = attachPartitionedLoop(t, path);
  const partition = resourceAt(`${device}p1`);
  const idle = await findHolders(partition);
  assert.deepEqual(idle.holders, []);
  assert.deepEqual(idle.standsOn, [
    `${device}p1 is a partition of ${device}`,
    `${device} is a loop device on ${path}`,
  ]);
  const writer = start('dd', [`of=${path}`, 'conv=notrunc', 'status=none']);
  await hasOpen(writer, path);
  const [holder] = (await findHolders(partition)).holders;
  assert.deepEqual(told(holder ?? assert.fail()), [
    'dd',
    [`no lock: open for writing (on ${path})`],
    [],
    writers,
  ]);
  await end(writer);

  await using locker = await startActor(
    `lock(fs.openSync(${JSON.stringify(path)}, 'r+'), OFD, WRITE, 0, 1);`,
  );
  const [locked] = (await findHolders(partition)).holders;
  assert.deepEqual(
    [locked?.pid, locked?.refuses],
    [locker.pid, all],
    'who has the whole keeps all out of a part',
  );
  await locker[Symbol.asyncDispose]();

  const second = attachLoop(t, path);
  const found = await findHolders(resourceAt(device));
  assert.deepEqual(
    found.holders.map(({ program, through }) => [program, ...through]),
    [['the kernel', `${path} loop device ${second}`]],
  );
});

test('a read-only loop device and its mount are only shown', async (t) => {
  if (!needs(t, 'root', 'losetup', 'mkfs.ext4')) return;
  const path = disk();
  execFileSync('truncate', ['-s', '8M', path]);
  execFileSync('mkfs.ext4', ['-q', '-F', path]);
  const point = join(folder, 'read-only');
  mkdirSync(point);
  execFileSync('mount', ['-o', 'loop,ro,noload', path, point]);
  try {
    const { through, refuses } = await only(path);
    assert.match(through[0] ?? '', /^loop device \/dev\/loop\d+ \(read-only\)$/);
    assert.equal(through[1], `mounted on ${point}`);
    assert.deepEqual(refuses, []);
    assert.deepEqual(await findUnlockedUse([resourceAt(path)]), new Map());
    const writer = openSync(path, 'r+');
    try {
      const use = await findUnlockedUse([resourceAt(path)]);
      assert.deepEqual(
        use.get(path)?.map(({ pid }) => pid),
        [process.pid],
        'only the writer',
      );
    } finally {
      closeSync(writer);
    }
  } finally {
    execFileSync('umount', [point]);
  }
});

test('virtlockd, for a guest that cannot be seen', async (t) => {
  if (!needs(t, 'root', 'unshare', 'virtlockd')) return;
  const path = disk();
  const virtlockd = await startVirtlockd(folder);
  const client = await virtlockd.connect();
  try {
    await client.register('web1', '7f9b1b0c-1d5e-4d0a-9b7a-0c2f4a1f6c11', virtlockd.pid);
    await client.acquire('', path);
    const holder = await only(path);
    assert.deepEqual(told(holder), ['virtlockd', ['virtlockd'], [], all]);
    assert.equal(holder.remedy, 'see which guest of libvirt uses it (virsh list), and shut that down');
    await client.release('', path);
    assert.deepEqual(await everyone(path), [], 'virtlockd closes what it has released');
  } finally {
    client.close();
    await virtlockd.stop();
  }
});

test('a holder in another pid namespace', async (t) => {
  if (!needs(t, 'root', 'unshare')) return;
  const path = disk();
  const inside = start('unshare', [
    '-p',
    '-f',
    'sh',
    '-c',
    `exec 3<>"$1"; echo open; read never`,
    'sh',
    path,
  ]);
  await inside.says('open');
  const holder = await only(path);
  assert.match(holder.container ?? '', /^another pid namespace/);
  assert.deepEqual(holder.refuses, writers);
  assert.notEqual(holder.pid, inside.pid, 'the shell, and not unshare that waits for it');
});

test('holders that end while they are looked at', async () => {
  const path = disk();
  for (let round = 0; round < 20; round++) {
    const holder = start('sh', ['-c', 'exec 3<>"$1"; sleep 0.0$2', 'sh', path, String(round % 5)]);
    for (let looks = 0; looks < 5; looks++) {
      for (const found of await everyone(path)) {
        assert.ok(['sh', 'dash', 'sleep'].includes(found.program ?? ''), JSON.stringify(found));
      }
    }
    await holder.exited;
  }
  assert.deepEqual(await everyone(path), []);
});

test('evidence is raw', async () => {
  const path = disk();
  await using actor = await startActor(
    `lock(fs.openSync(${JSON.stringify(path)}, 'r+'), OFD, READ, 100, 2);`,
  );
  const { evidence } = await only(path);
  assert.equal(evidence.length, 2);
  assert.match(
    evidence[0] ?? '',
    new RegExp(`^/proc/${actor.pid}/fd/\\d+ -> .*disk \\d+\\.img \\(read-write\\)$`),
  );
  const fd = /fd\/(\d+)/.exec(evidence[0] ?? '')?.[1];
  const line = /OFDLCK.*$/m
    .exec(readFileSync(`/proc/${actor.pid}/fdinfo/${fd}`, 'utf8'))?.[0]
    .replace(/\s+/g, ' ');
  assert.equal(evidence[1], `/proc/${actor.pid}/fdinfo/${fd} lock: ${line}`);
});
