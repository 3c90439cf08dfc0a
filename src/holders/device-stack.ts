/**
 * What a block device stands on, down to the ground (a partition's disk, a loop device's file, the parts of a volume),
 * and what stands on it, up to the top (partitions, volumes, loop devices).
 */
import { deviceNode, readBlockDevice } from '../system/block-devices.js';
import { readPartitions, readStacked } from '../system/kernel-uses.js';
import type { KernelTables } from '../system/kernel-uses.js';
import type { FileTarget } from '../system/open-files.js';

export interface BelowDevice {
  readonly target: FileTarget;
  /** Its node or file. */
  readonly name: string;
  /** How what is above it stands on it: `/dev/sda1 is a partition of /dev/sda`. */
  readonly words: string;
}

/** A volume on RAID on partitions on multipath: some dozens of disks; and a volume group of some hundred volumes. */
const devicesMax = 1024;

/** Every device that is made of this one, each once, nearest first. */
export function aboveDevice(
  device: string,
  { sys, loops }: KernelTables,
): { device: string; name: string }[] {
  const found = new Map<string, string>();
  const queue = [device];
  for (let next = queue.shift(); next !== undefined && found.size < devicesMax; next = queue.shift()) {
    const below = next;
    const above = [
      ...readPartitions(below, sys),
      ...readStacked(below, sys),
      ...loops.filter(({ backingDevice }) => backingDevice === below),
    ];
    for (const { device: each, name } of above) {
      if (each === undefined || each === device || found.has(each)) continue;
      found.set(each, `/dev/${name}`);
      queue.push(each);
    }
  }
  return [...found].map(([each, name]) => ({ device: each, name }));
}

/** Each once, nearest first. */
export function belowDevice(device: string, tables: KernelTables): BelowDevice[] {
  const found: BelowDevice[] = [];
  const visited = new Set([device]);
  const queue = [device];
  for (let next = queue.shift(); next !== undefined && found.length < devicesMax; next = queue.shift()) {
    for (const below of directlyBelow(next, tables)) {
      if (below.target.kind === 'device') {
        if (visited.has(below.target.device)) continue;
        visited.add(below.target.device);
        queue.push(below.target.device);
      }
      found.push(below);
    }
  }
  return found;
}

function directlyBelow(device: string, { sys, loops }: KernelTables): BelowDevice[] {
  const { partition, slaves = [] } = readBlockDevice(device, sys) ?? {};
  const name = deviceNode(device, sys);
  const on = (below: string, how: string): BelowDevice => {
    const node = deviceNode(below, sys);
    return { target: { kind: 'device', device: below }, name: node, words: `${name} is ${how} ${node}` };
  };
  const found = slaves.map((slave) => on(slave, 'made of'));
  if (partition !== undefined) found.push(on(partition.disk, 'a partition of'));
  const loop = loops.find((each) => each.device === device);
  if (loop === undefined) return found;
  const words = `${name} is a loop device on ${loop.file}`;
  if (loop.backingDevice !== undefined) {
    found.push({ target: { kind: 'device', device: loop.backingDevice }, name: loop.file, words });
  } else if (loop.inode !== undefined) {
    found.push({ target: { kind: 'inode', inode: loop.inode }, name: loop.file, words });
  }
  return found;
}
