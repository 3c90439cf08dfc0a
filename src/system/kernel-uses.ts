/**
 * Uses of a file or a block device that are no descriptor of any process: the kernel itself has it. Mounts
 * (/proc/self/mountinfo), swap (/proc/swaps), loop devices, device-mapper and md (`holders` in sysfs), and
 * for block devices the claim that all of these take (open(2), O_EXCL on a block device).
 *
 * Upwards everything is followed: a loop device on the file, a mount of one of its partitions. Downwards what shows the
 * same storage: a partition is in use where its whole disk is, but not where only another partition is; a loop device
 * where its file is swap, or where another loop device shows the same bytes of it.
 */
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import type { Inode } from '../vocabulary.js';
import { isClaimed } from './block-claim.js';
import { deviceNode, readBlockDevice } from './block-devices.js';
import { deviceName, sameInode } from './inode.js';
import { readLoopDevices } from './loop-status.js';
import type { LoopDevice } from './loop-status.js';
import { parseMounts } from './mounts.js';
import type { Mount } from './mounts.js';
import { parsePids } from './process.js';
import { readProcText } from './proc-file.js';
import { readSwaps } from './swaps.js';
import type { Swap } from './swaps.js';

export interface KernelUse {
  /** `stacked`: device-mapper, md and the like; `claim`: claimed, and nothing tells by what. */
  readonly kind: 'mount' | 'swap' | 'loop' | 'stacked' | 'claim';
  /** The mount point, the swap file or device, or the device that stands on it (`/dev/loop0`, `/dev/dm-0`). */
  readonly where: string;
  /** The device that is used where it is not the one asked for: one of its partitions, or its whole disk. */
  readonly on?: string;
  /** Of a mount in another mount namespace: a process that lives there. */
  readonly namespacePid?: number;
  /** Of a loop device: nothing that goes through it, or stands on it, changes the file. */
  readonly readOnly?: true;
  /** Of device-mapper: its name and uuid. */
  readonly dm?: { readonly name: string; readonly uuid: string };
  /** Uses of the device that stands on it. */
  readonly above: readonly KernelUse[];
  readonly evidence: string;
}

export interface KernelRoots {
  readonly proc?: string;
  readonly sys?: string;
}

/** dm on md on loop on a partition is four; no sane host goes deeper than this. */
const depthMax = 8;
const tableBytesMax = 16 * 1024 * 1024;
/** The tables of the kernel, read once for many questions. */
export interface KernelTables {
  readonly proc: string;
  readonly sys: string;
  readonly mounts: readonly Mount[];
  readonly swaps: readonly Swap[];
  readonly loops: readonly LoopDevice[];
}

/** What the kernel does with a regular file: swap, loop devices and what stands on them. */
export function kernelUsesOfFile(inode: Inode, tables: KernelTables): KernelUse[] {
  return [
    ...swapsOn(inode, tables),
    ...tables.loops
      .filter((loop) => loop.inode !== undefined && sameInode(loop.inode, inode))
      .map((loop) => loopUse(loop, tables, 1)),
  ];
}

/**
 * What the kernel does with a block device (`major:minor`), its partitions, and the whole disk that it is a part of.
 * @param path a node of the device, to test for a claim that the tables do not explain.
 */
export async function kernelUsesOfDevice(
  device: string,
  path: string | undefined,
  tables: KernelTables,
): Promise<KernelUse[]> {
  const disk = readBlockDevice(device, tables.sys)?.partition?.disk;
  const known = [
    ...usesOfDevice(device, tables, 0),
    ...(disk === undefined ? [] : directUses(disk, tables, 0, deviceNode(disk, tables.sys))),
    ...usesBehindLoop(disk ?? device, tables),
  ];
  if (known.length > 0 || path === undefined || (await isClaimed(path, device)) !== true) return known;
  const elsewhere = mountInOtherNamespace(device, tables.proc);
  return [
    elsewhere ?? { kind: 'claim', where: path, above: [], evidence: `open ${path} with O_EXCL: EBUSY` },
  ];
}

/** What else the kernel does with the storage behind a loop device. */
function usesBehindLoop(device: string, tables: KernelTables): KernelUse[] {
  const shown = tables.loops.find((loop) => loop.device === device);
  if (shown === undefined) return [];
  const { inode, backingDevice, file: on } = shown;
  const same = (loop: LoopDevice): boolean =>
    backingDevice === undefined
      ? inode !== undefined && loop.inode !== undefined && sameInode(loop.inode, inode)
      : loop.backingDevice === backingDevice;
  return [
    ...(inode === undefined ? [] : swapsOn(inode, tables)).map((swap) => ({ ...swap, on })),
    ...(backingDevice === undefined
      ? []
      : [
          ...tables.mounts.filter((mount) => isMountOf(mount, backingDevice)).map(mountUse),
          ...tables.swaps.filter((swap) => swap.device === backingDevice).map(swapUse),
        ].map((use) => ({ ...use, on }))),
    ...tables.loops
      .filter((loop) => loop !== shown && same(loop) && loop.start < shown.end && shown.start < loop.end)
      .map((loop) => ({ ...loopUse(loop, tables, 1), on })),
  ];
}

function swapsOn(inode: Inode, { swaps }: KernelTables): KernelUse[] {
  return swaps.filter((swap) => swap.inode !== undefined && sameInode(swap.inode, inode)).map(swapUse);
}

export function readKernelTables(roots: KernelRoots = {}): KernelTables {
  const proc = roots.proc ?? '/proc';
  const sys = roots.sys ?? '/sys';
  return {
    proc,
    sys,
    mounts: [...parseMounts(readProcText(`${proc}/self/mountinfo`, tableBytesMax) ?? '').values()].flat(),
    swaps: readSwaps(proc),
    loops: readLoopDevices(sys),
  };
}

/** Uses of a device and of its partitions. */
function usesOfDevice(device: string, tables: KernelTables, depth: number): KernelUse[] {
  if (depth >= depthMax) return [];
  return [
    ...directUses(device, tables, depth),
    ...readPartitions(device, tables.sys).flatMap((partition) =>
      directUses(partition.device, tables, depth, `/dev/${partition.name}`),
    ),
  ];
}

/** Uses of exactly this device. `on`: how to name it where another one was asked for. */
function directUses(device: string, tables: KernelTables, depth: number, on?: string): KernelUse[] {
  const named = on === undefined ? {} : { on };
  return [
    ...tables.mounts
      .filter((mount) => isMountOf(mount, device))
      .map((mount) => ({ ...mountUse(mount), ...named })),
    ...tables.swaps.filter((swap) => swap.device === device).map((swap) => ({ ...swapUse(swap), ...named })),
    ...tables.loops
      .filter((loop) => loop.backingDevice === device)
      .map((loop) => ({ ...loopUse(loop, tables, depth + 1), ...named })),
    ...stackedUses(device, tables, depth).map((use) => ({ ...use, ...named })),
  ];
}

/** btrfs and bcachefs mounts have a device number of their own: only the source names the device. */
function isMountOf(mount: Mount, device: string): boolean {
  if (mount.dev === device) return true;
  if (!mount.dev.startsWith('0:') || !mount.source.startsWith('/dev/')) return false;
  return mount.source.split(':').some((source) => deviceAt(source) === device);
}

function deviceAt(path: string): string | undefined {
  try {
    const stats = statSync(path, { bigint: true });
    return stats.isBlockDevice() ? deviceName(stats.rdev) : undefined;
  } catch {
    return undefined;
  }
}

function mountUse(mount: Mount): KernelUse {
  return {
    kind: 'mount',
    where: mount.point,
    above: [],
    evidence: `/proc/self/mountinfo: ${mount.dev} ${mount.source} on ${mount.point} (${mount.type})`,
  };
}

function swapUse(swap: Swap): KernelUse {
  return { kind: 'swap', where: swap.path, above: [], evidence: `/proc/swaps: ${swap.path}` };
}

function loopUse(loop: LoopDevice, tables: KernelTables, depth: number): KernelUse {
  const above = usesOfDevice(loop.device, tables, depth);
  const elsewhere = above.length > 0 ? undefined : mountInOtherNamespace(loop.device, tables.proc);
  return {
    kind: 'loop',
    where: `/dev/${loop.name}`,
    ...(loop.readOnly ? { readOnly: true } : {}),
    above: elsewhere === undefined ? above : [elsewhere],
    evidence: `/sys/block/${loop.name}/loop/backing_file: ${loop.file}`,
  };
}

function stackedUses(device: string, tables: KernelTables, depth: number): KernelUse[] {
  return readStacked(device, tables.sys).map(({ name, device: above, folder }): KernelUse => {
    const dmName = readProcText(`${folder}/dm/name`, 4096)?.trim();
    const dmUuid = readProcText(`${folder}/dm/uuid`, 4096)?.trim() ?? '';
    return {
      kind: 'stacked',
      where: `/dev/${name}`,
      ...(dmName === undefined ? {} : { dm: { name: dmName, uuid: dmUuid } }),
      above: above === undefined ? [] : usesOfDevice(above, tables, depth + 1),
      evidence: folder,
    };
  });
}

/** The devices that are made of a device (device-mapper, md, bcache), and where sysfs has them. */
export function readStacked(
  device: string,
  sys = '/sys',
): { name: string; device: string | undefined; folder: string }[] {
  const holders = `${sys}/dev/block/${device}/holders`;
  return listFolder(holders).map((entry) => ({
    name: entry.replaceAll('!', '/'),
    device: readProcText(`${holders}/${entry}/dev`, 64)?.trim(),
    folder: `${holders}/${entry}`,
  }));
}

/** The partitions of a disk: the folders in its own that have a `partition` number. */
export function readPartitions(device: string, sys = '/sys'): { name: string; device: string }[] {
  const folder = `${sys}/dev/block/${device}`;
  return listFolder(folder).flatMap((entry) => {
    if (readProcText(`${folder}/${entry}/partition`, 64) === undefined) return [];
    const partition = readProcText(`${folder}/${entry}/dev`, 64)?.trim();
    return partition === undefined ? [] : [{ name: entry.replaceAll('!', '/'), device: partition }];
  });
}

function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder).toSorted();
  } catch {
    return [];
  }
}

/** The first mount of the device in a mount namespace that is not ours. */
function mountInOtherNamespace(device: string, proc: string): KernelUse | undefined {
  const seen = new Set<string>();
  for (const pid of parsePids(listFolder(proc))) {
    let namespace: string;
    try {
      namespace = readlinkSync(`${proc}/${pid}/ns/mnt`);
    } catch {
      continue; // Gone, or not ours to see.
    }
    if (seen.has(namespace)) continue;
    seen.add(namespace);
    const table = parseMounts(readProcText(`${proc}/${pid}/mountinfo`, tableBytesMax) ?? '');
    const mount = [...table.values()].flat().find((candidate) => isMountOf(candidate, device));
    if (mount !== undefined) {
      return {
        ...mountUse(mount),
        namespacePid: pid,
        evidence: `/proc/${pid}/mountinfo: ${mount.dev} ${mount.source} on ${mount.point} (${mount.type})`,
      };
    }
  }
  return undefined;
}
