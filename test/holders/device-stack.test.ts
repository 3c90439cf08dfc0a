import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { aboveDevice, belowDevice } from '../../src/holders/device-stack.js';
import { kernelHolder } from '../../src/holders/kernel-holder.js';
import { kernelUsesOfDevice } from '../../src/system/kernel-uses.js';
import type { KernelTables } from '../../src/system/kernel-uses.js';
import { lvmOnScsi, multipath, others, sysTree } from '../system/sys-tree.js';
import type { SysDevice } from '../system/sys-tree.js';

/** A recorded sysfs with what the kernel links on the other side: `holders`. */
function tables(t: TestContext, devices: readonly SysDevice[]): KernelTables {
  const sys = sysTree(t, devices);
  for (const { at, slaves = [] } of devices) {
    for (const slave of slaves) {
      if (!devices.some((each) => each.at === slave)) continue;
      const holders = join(sys, 'devices', slave, 'holders');
      mkdirSync(holders, { recursive: true });
      symlinkSync(join(sys, 'devices', at), join(holders, at.split('/').at(-1) ?? ''));
    }
  }
  return { proc: '/nowhere', sys, mounts: [], swaps: [], loops: [] };
}

const below = (device: string, from: KernelTables): string[] =>
  belowDevice(device, from).map(({ words }) => words);
const above = (device: string, from: KernelTables): string[] =>
  aboveDevice(device, from).map(({ name }) => name);

test('a volume stands on its physical volumes and their disk, and they know it', (t) => {
  const from = tables(t, lvmOnScsi);
  assert.deepEqual(below('253:2', from), [
    '/dev/dm-2 is made of /dev/dm-1',
    '/dev/dm-1 is made of /dev/sda2',
    '/dev/sda2 is a partition of /dev/sda',
  ]);
  assert.deepEqual(above('8:2', from), ['/dev/dm-0', '/dev/dm-1', '/dev/dm-2', '/dev/dm-3']);
  assert.deepEqual(above('8:0', from).slice(0, 2), ['/dev/sda1', '/dev/sda2']);
  assert.deepEqual(above('253:3', from), []);
  assert.deepEqual(below('8:0', from), []);
});

test('both paths of a multipath disk', (t) => {
  const from = tables(t, multipath);
  assert.deepEqual(below('253:6', from), [
    '/dev/dm-6 is made of /dev/dm-5',
    '/dev/dm-5 is made of /dev/sdb',
    '/dev/dm-5 is made of /dev/sdc',
  ]);
});

test('a circle that no kernel makes ends', (t) => {
  const from = tables(t, others);
  assert.deepEqual(below('253:10', from), ['/dev/dm-10 is made of /dev/dm-11']);
  assert.deepEqual(above('253:10', from), ['/dev/dm-11']);
});

test('a loop device on a loop device’s node, and on a file', (t) => {
  const from: KernelTables = {
    ...tables(t, [
      { at: 'virtual/block/loop0', device: '7:0' },
      { at: 'virtual/block/loop1', device: '7:1' },
    ]),
    loops: [
      {
        name: 'loop0',
        device: '7:0',
        file: '/a.img',
        inode: { dev: '8:1', ino: '12' },
        readOnly: false,
        start: 0,
        end: Infinity,
      },
      {
        name: 'loop1',
        device: '7:1',
        file: '/dev/loop0',
        backingDevice: '7:0',
        readOnly: false,
        start: 0,
        end: Infinity,
      },
    ],
  };
  assert.deepEqual(below('7:1', from), [
    '/dev/loop1 is a loop device on /dev/loop0',
    '/dev/loop0 is a loop device on /a.img',
  ]);
  assert.deepEqual(above('7:0', from), ['/dev/loop1']);
});

test('a physical volume, in the words of LVM', async (t) => {
  const uses = await kernelUsesOfDevice('8:2', undefined, tables(t, lvmOnScsi));
  const holders = uses.map(kernelHolder);
  assert.deepEqual(holders[0]?.through, ['physical volume of the LVM volume vg/root (/dev/dm-0)']);
  assert.deepEqual(holders[0].refuses, ['exclusive', 'shared']);
  assert.equal(holders[0].remedy, 'lvchange -an /dev/mapper/vg-root');
});
