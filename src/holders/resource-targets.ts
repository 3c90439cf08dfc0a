/** What to look for in the system to find who uses a resource: its own inode or device, and what overlaps with it. */
import { statSync } from 'node:fs';
import { deviceName, inodeOf, sameInode } from '../system/inode.js';
import type { KernelTables } from '../system/kernel-uses.js';
import type { FileTarget } from '../system/open-files.js';
import type { Inode, Resource } from '../vocabulary.js';
import { aboveDevice, belowDevice } from './device-stack.js';

export type ResourceTarget = FileTarget & {
  readonly resource: Resource;
  /**
   * `above`: it is made of the resource (a partition of it, a loop device on it); `below`: the resource is made of
   * it (the whole disk of a partition, the file of a loop device, the physical volumes of a logical one).
   */
  readonly relation: 'self' | 'above' | 'below';
  /** How to name it where it is not the resource itself. */
  readonly on?: string;
};

/** Nothing for what has neither inode nor device: network disks, names, files that do not exist. */
export function resourceTargets(resource: Resource, tables: KernelTables): ResourceTarget[] {
  if (resource.storage === 'block') return deviceTargets(resource, tables);
  const inode = inodeOfResource(resource);
  if (inode === undefined) return [];
  return [
    ...sameFileInodes(resource, inode, tables).map((each): ResourceTarget => ({
      kind: 'inode',
      inode: each,
      resource,
      relation: 'self',
    })),
    ...tables.loops
      .filter((loop) => loop.inode !== undefined && sameInode(loop.inode, inode))
      .flatMap((loop): ResourceTarget[] => [
        { kind: 'device', device: loop.device, resource, relation: 'above', on: `/dev/${loop.name}` },
        ...aboveTargets(loop.device, resource, tables),
      ]),
  ];
}

/** The inode that the plan saw, or else the one that the path leads to now. */
export function inodeOfResource({ storage, inode, path }: Resource): Inode | undefined {
  if (inode !== undefined) return inode;
  if ((storage !== 'file' && storage !== 'directory') || path === undefined) return undefined;
  try {
    return inodeOf(statSync(path, { bigint: true }));
  } catch {
    return undefined;
  }
}

/** The device that the plan saw, or else the one that the path leads to now. */
export function deviceOfResource({ device, path }: Resource): string | undefined {
  if (device !== undefined || path === undefined) return device;
  try {
    const stats = statSync(path, { bigint: true });
    return stats.isBlockDevice() ? deviceName(stats.rdev) : undefined;
  } catch {
    return undefined;
  }
}

/** A network file system that is mounted twice has two devices and one inode number. */
function sameFileInodes(resource: Resource, inode: Inode, { mounts }: KernelTables): Inode[] {
  if (resource.scope !== 'cluster') return [inode];
  const mount = mounts.find(({ dev }) => dev === inode.dev);
  if (mount === undefined) return [inode];
  const devices = mounts
    .filter(({ source, type }) => source === mount.source && type === mount.type)
    .map(({ dev }) => dev);
  return [...new Set(devices)].map((dev) => ({ dev, ino: inode.ino }));
}

/** The device, what stands on it, and what it stands on. */
function deviceTargets(resource: Resource, tables: KernelTables): ResourceTarget[] {
  const device = deviceOfResource(resource);
  if (device === undefined) return [];
  return [
    { kind: 'device', device, resource, relation: 'self' },
    ...aboveTargets(device, resource, tables),
    ...belowDevice(device, tables).map(({ target, name }): ResourceTarget => ({
      ...target,
      resource,
      relation: 'below',
      on: name,
    })),
  ];
}

function aboveTargets(device: string, resource: Resource, tables: KernelTables): ResourceTarget[] {
  return aboveDevice(device, tables).map((above) => ({
    kind: 'device',
    device: above.device,
    resource,
    relation: 'above',
    on: above.name,
  }));
}
