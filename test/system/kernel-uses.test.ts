import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { isClaimed } from '../../src/system/block-claim.js';
import { deviceName, inodeOf } from '../../src/system/inode.js';
import { kernelUsesOfDevice, kernelUsesOfFile, readKernelTables } from '../../src/system/kernel-uses.js';
import type { KernelUse } from '../../src/system/kernel-uses.js';
import { parseSwaps } from '../../src/system/swaps.js';
import { startProgram } from '../holders/actor.js';
import { attachLoop } from '../holders/loop.js';
import { needs } from '../needs.js';
import { sysTree } from './sys-tree.js';

/** A folder that stands for /proc. */
function procTree(t: TestContext, mountinfo: string, swaps = ''): string {
  const proc = mkdtempSync(join(tmpdir(), 'proc-'));
  t.after(() => rmSync(proc, { recursive: true }));
  mkdirSync(join(proc, 'self'));
  writeFileSync(join(proc, 'self/mountinfo'), mountinfo);
  writeFileSync(join(proc, 'swaps'), `Filename\t\tType\tSize\tUsed\tPriority\n${swaps}`);
  return proc;
}

function mountLine(device: string, point: string, type = 'ext4', source = '/dev/none'): string {
  return `30 1 ${device} / ${point} rw,relatime shared:1 - ${type} ${source} rw\n`;
}

/** `holder` stands on `part`, both as in sysTree. */
function hold(sys: string, part: string, holder: string): void {
  mkdirSync(join(sys, 'devices', part, 'holders'), { recursive: true });
  symlinkSync(
    join(sys, 'devices', holder),
    join(sys, 'devices', part, 'holders', holder.split('/').at(-1) ?? ''),
  );
}

function words(uses: readonly KernelUse[]): unknown[] {
  return uses.map(({ kind, where, on, above }) => [
    ...(on === undefined ? [] : [on]),
    kind,
    where,
    ...(above.length === 0 ? [] : [words(above)]),
  ]);
}

const disk = [
  { at: 'pci0/block/sda', device: '8:0' },
  { at: 'pci0/block/sda/sda1', device: '8:1', attributes: { partition: '1' } },
  { at: 'pci0/block/sda/sda2', device: '8:2', attributes: { partition: '2' } },
];

test('/proc/swaps: paths with spaces, partitions, and nothing', () => {
  assert.deepEqual(parseSwaps(''), []);
  assert.deepEqual(parseSwaps('Filename Type Size Used Priority\n'), []);
  assert.deepEqual(
    parseSwaps(
      'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n' +
        '/dev/sda2                               partition\t2097148\t\t0\t\t-2\n' +
        '/swap\\040file\\040(deleted)              file\t\t8188\t\t0\t\t-3\nbroken\n',
    ),
    ['/dev/sda2', '/swap file (deleted)'],
  );
});

test('a swap file is found by its inode', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'swap-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'swap file');
  writeFileSync(path, '');
  writeFileSync(join(folder, 'other'), '');
  const proc = procTree(t, '', `${path.replace(' ', '\\040')} file 8188 0 -2\n/gone file 8188 0 -3\n`);
  const tables = readKernelTables({ proc, sys: join(folder, 'none') });
  const uses = (of: string): unknown =>
    words(kernelUsesOfFile(inodeOf(statSync(of, { bigint: true })), tables));
  assert.deepEqual(uses(path), [['swap', path]]);
  assert.deepEqual(uses(join(folder, 'other')), []);
});

test('a disk is in use where a partition of it is, a partition where its whole disk is', async (t) => {
  const sys = sysTree(t, disk);
  const roots = (mountinfo: string): { proc: string; sys: string } => ({ proc: procTree(t, mountinfo), sys });
  const uses = async (device: string, mountinfo: string): Promise<unknown> =>
    words(await kernelUsesOfDevice(device, undefined, readKernelTables(roots(mountinfo))));

  const first = mountLine('8:1', '/boot');
  assert.deepEqual(await uses('8:0', first), [['/dev/sda1', 'mount', '/boot']]);
  assert.deepEqual(await uses('8:1', first), [['mount', '/boot']]);
  assert.deepEqual(await uses('8:2', first), [], 'the other partition is nobody’s');
  const whole = mountLine('8:0', '/whole');
  assert.deepEqual(await uses('8:0', whole), [['mount', '/whole']]);
  assert.deepEqual(await uses('8:2', whole), [['/dev/sda', 'mount', '/whole']]);
});

test('device-mapper on md on a partition, and what is mounted on top', async (t) => {
  const sys = sysTree(t, [
    ...disk,
    { at: 'virtual/block/md0', device: '9:0' },
    {
      at: 'virtual/block/dm-0',
      device: '253:0',
      attributes: { 'dm/name': 'vg-root', 'dm/uuid': 'LVM-abc' },
    },
  ]);
  hold(sys, 'pci0/block/sda/sda2', 'virtual/block/md0');
  hold(sys, 'virtual/block/md0', 'virtual/block/dm-0');
  const tables = readKernelTables({ proc: procTree(t, mountLine('253:0', '/srv')), sys });
  const stack = ['stacked', '/dev/md0', [['stacked', '/dev/dm-0', [['mount', '/srv']]]]];
  assert.deepEqual(words(await kernelUsesOfDevice('8:2', undefined, tables)), [stack]);
  assert.deepEqual(words(await kernelUsesOfDevice('8:0', undefined, tables)), [['/dev/sda2', ...stack]]);
  assert.deepEqual(words(await kernelUsesOfDevice('8:1', undefined, tables)), []);
  const [md] = await kernelUsesOfDevice('8:2', undefined, tables);
  assert.deepEqual(md?.above[0]?.dm, { name: 'vg-root', uuid: 'LVM-abc' });
});

test('devices that stand on each other in a circle end', async (t) => {
  const sys = sysTree(t, [
    { at: 'virtual/block/dm-0', device: '253:0' },
    { at: 'virtual/block/dm-1', device: '253:1' },
  ]);
  hold(sys, 'virtual/block/dm-0', 'virtual/block/dm-1');
  hold(sys, 'virtual/block/dm-1', 'virtual/block/dm-0');
  const tables = readKernelTables({ proc: procTree(t, ''), sys });
  assert.equal((await kernelUsesOfDevice('253:0', undefined, tables)).length, 1);
});

test('a loop device on a file, from sysfs alone', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'loop-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'disk.img');
  writeFileSync(path, '');
  const sys = sysTree(t, [
    { at: 'virtual/block/loop3', device: '7:3', attributes: { 'loop/backing_file': path } },
    { at: 'virtual/block/loop4', device: '7:4', attributes: { 'loop/backing_file': `${path} (deleted)` } },
    { at: 'virtual/block/loop5', device: '7:5' },
  ]);
  mkdirSync(join(sys, 'block'));
  for (const name of ['loop3', 'loop4', 'loop5'])
    symlinkSync(join(sys, 'devices/virtual/block', name), join(sys, 'block', name));
  const tables = readKernelTables({ proc: procTree(t, mountLine('7:3', '/mnt\\040x')), sys });
  assert.deepEqual(words(kernelUsesOfFile(inodeOf(statSync(path, { bigint: true })), tables)), [
    ['loop', '/dev/loop3', [['mount', '/mnt x']]],
  ]);
});

test('a real loop device: the file behind it, also when that is deleted', async (t) => {
  if (!needs(t, 'root', 'losetup')) return;
  const folder = mkdtempSync(join(tmpdir(), 'loop-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'disk.img');
  writeFileSync(path, '');
  truncateSync(path, 8 << 20);
  const inode = inodeOf(statSync(path, { bigint: true }));
  const device = attachLoop(t, path);
  assert.deepEqual(words(kernelUsesOfFile(inode, readKernelTables())), [['loop', device]]);
  unlinkSync(path);
  assert.deepEqual(words(kernelUsesOfFile(inode, readKernelTables())), [['loop', device]]);

  const number = deviceName(statSync(device, { bigint: true }).rdev);
  assert.deepEqual(await kernelUsesOfDevice(number, device, readKernelTables()), [], 'attached, but idle');
  assert.equal(await isClaimed(device, number), false);
  assert.equal(await isClaimed(device, '7:99999'), undefined, 'another device by now');
  assert.equal(await isClaimed('/dev/null', number), undefined);
});

test('a mount, here and in another mount namespace', async (t) => {
  if (!needs(t, 'root', 'losetup', 'mkfs.ext4', 'unshare')) return;
  const folder = mkdtempSync(join(tmpdir(), 'loop-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'disk.img');
  writeFileSync(path, '');
  truncateSync(path, 8 << 20);
  execFileSync('mkfs.ext4', ['-q', '-F', path]);
  const point = join(folder, 'mnt');
  mkdirSync(point);
  const device = attachLoop(t, path);
  const number = deviceName(statSync(device, { bigint: true }).rdev);

  execFileSync('mount', [device, point]);
  try {
    const tables = readKernelTables();
    assert.deepEqual(words(await kernelUsesOfDevice(number, device, tables)), [['mount', point]]);
    assert.deepEqual(words(kernelUsesOfFile(inodeOf(statSync(path, { bigint: true })), tables)), [
      ['loop', device, [['mount', point]]],
    ]);
    assert.equal(await isClaimed(device, number), true);
  } finally {
    execFileSync('umount', [point]);
  }

  await using elsewhere = await startProgram(
    'unshare',
    ['-m', '--propagation', 'private', 'sh', '-c', `mount ${device} ${point} && echo ready && exec cat`],
    'ready',
  );
  const [use] = await kernelUsesOfDevice(number, device, readKernelTables());
  assert.deepEqual([use?.kind, use?.where, use?.namespacePid], ['mount', point, elsewhere.pid]);
  const [loop] = kernelUsesOfFile(inodeOf(statSync(path, { bigint: true })), readKernelTables());
  assert.deepEqual(
    loop?.above.map(({ kind, namespacePid }) => [kind, namespacePid]),
    [['mount', elsewhere.pid]],
  );
});
