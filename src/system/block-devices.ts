/** Block devices as sysfs describes them (sysfs(5); the kernel's Documentation/ABI, "sysfs-block"). */
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { deviceName } from './inode.js';

export interface BlockDevice {
  /** The kernel's name: `sda1`, `dm-0`, `cciss/c0d0`. */
  readonly name: string;
  /** `major:minor`. */
  readonly device: string;
  /** Of a partition: its number, and the device that it is a part of. */
  readonly partition?: { readonly number: number; readonly disk: string };
  /** Of a device-mapper device: `LVM-...`, `mpath-...`, `CRYPT-LUKS2-...`. */
  readonly dmUuid?: string;
  /** What it is made of, `major:minor` each (device-mapper, md, bcache). */
  readonly slaves: readonly string[];
  /** The world-wide id of a SCSI or NVMe disk. */
  readonly wwid?: { readonly id: string; readonly bus: 'scsi' | 'nvme' };
  /** Of a loop device: the file behind it; `deleted`: its name is gone. */
  readonly loop?: { readonly file: string; readonly deleted: boolean; readonly offset: string };
  /** Of a Ceph block device. */
  readonly rbd?: {
    readonly cluster: string;
    readonly pool: string;
    readonly namespace: string;
    readonly image: string;
    readonly snapshot: string;
  };
}

/** The value of an attribute without its newline; undefined: not there. Spaces at the ends can be part of a path. */
function attribute(path: string): string | undefined {
  try {
    const text = readFileSync(path, 'utf8');
    return text.endsWith('\n') ? text.slice(0, -1) : text;
  } catch {
    return undefined;
  }
}

function readSlaves(folder: string): string[] {
  let names: string[];
  try {
    names = readdirSync(`${folder}/slaves`);
  } catch {
    return [];
  }
  return names
    .map((name) => attribute(`${folder}/slaves/${name}/dev`))
    .filter((device) => device !== undefined)
    .toSorted();
}

/** Some firmware says an id of zeros, or an empty one: that is none. */
function readWwid(folder: string): BlockDevice['wwid'] {
  const read = (path: string): string | undefined => {
    const id = attribute(path)?.trim().replace(/\s+/g, '_');
    return id === undefined || /^(naa|eui|uuid|t10|nvme)?\.?[0_-]*$/.test(id) ? undefined : id;
  };
  const nvme = read(`${folder}/wwid`);
  if (nvme !== undefined) return { id: nvme, bus: 'nvme' };
  const scsi = read(`${folder}/device/wwid`);
  return scsi === undefined ? undefined : { id: scsi, bus: 'scsi' };
}

function readLoop(folder: string): BlockDevice['loop'] {
  const file = attribute(`${folder}/loop/backing_file`);
  if (file === undefined) return undefined;
  const suffix = ' (deleted)';
  const deleted = file.endsWith(suffix);
  return {
    file: deleted ? file.slice(0, -suffix.length) : file,
    deleted,
    offset: attribute(`${folder}/loop/offset`) ?? '0',
  };
}

function readRbd(name: string, sys: string): BlockDevice['rbd'] {
  const number = /^rbd(\d+)$/.exec(name)?.[1];
  if (number === undefined) return undefined;
  const folder = `${sys}/bus/rbd/devices/${number}`;
  const cluster = attribute(`${folder}/cluster_fsid`);
  const pool = attribute(`${folder}/pool`);
  const image = attribute(`${folder}/name`);
  if (cluster === undefined || pool === undefined || image === undefined) return undefined;
  const snapshot = attribute(`${folder}/current_snap`) ?? '';
  return {
    cluster,
    pool,
    image,
    namespace: attribute(`${folder}/pool_ns`) ?? '',
    snapshot: snapshot === '-' ? '' : snapshot,
  };
}

/** What sysfs says of a device, `major:minor`; undefined: it is not there, or sysfs is not mounted. */
export function readBlockDevice(device: string, sys = '/sys'): BlockDevice | undefined {
  let folder: string;
  try {
    folder = realpathSync.native(`${sys}/dev/block/${device}`);
  } catch {
    return undefined;
  }
  // sysfs writes the `/` of names such as cciss/c0d0 as `!`.
  const name = basename(folder).replaceAll('!', '/');
  const number = attribute(`${folder}/partition`);
  const disk = number === undefined ? undefined : attribute(`${dirname(folder)}/dev`);
  const dmUuid = attribute(`${folder}/dm/uuid`);
  const wwid = number === undefined ? readWwid(folder) : undefined;
  const loop = readLoop(folder);
  const rbd = readRbd(name, sys);
  return {
    name,
    device,
    slaves: readSlaves(folder),
    ...(number === undefined || disk === undefined ? {} : { partition: { number: Number(number), disk } }),
    ...(dmUuid === undefined || dmUuid === '' ? {} : { dmUuid }),
    ...(wwid === undefined ? {} : { wwid }),
    ...(loop === undefined ? {} : { loop }),
    ...(rbd === undefined ? {} : { rbd }),
  };
}

/** How long a device is, and how much of it is read and written at once; undefined: sysfs does not say. */
export function blockDeviceSize(
  device: string,
  sys = '/sys',
): { readonly bytes: number; readonly sectorBytes: number } | undefined {
  const folder = `${sys}/dev/block/${device}`;
  // sysfs counts in 512 bytes whatever the sectors are. A partition has the queue of its disk.
  const size = Number(attribute(`${folder}/size`) ?? Number.NaN) * 512;
  const queue = attribute(`${folder}/queue/logical_block_size`);
  const sectorBytes = Number(queue ?? attribute(`${folder}/../queue/logical_block_size`) ?? Number.NaN);
  return Number.isSafeInteger(size) && Number.isSafeInteger(sectorBytes)
    ? { bytes: size, sectorBytes }
    : undefined;
}

/** The usual node of a device; where sysfs does not know it, the one that udev names by its number. */
export function deviceNode(device: string, sys = '/sys'): string {
  return `/dev/${readBlockDevice(device, sys)?.name ?? `block/${device}`}`;
}

/** The uuid of the file system on a device, from udev's links in /dev/disk/by-uuid; undefined: not known. */
export function fileSystemUuid(device: string, dev = '/dev'): string | undefined {
  const folder = `${dev}/disk/by-uuid`;
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return undefined;
  }
  return names.find((name) => {
    try {
      const stats = statSync(`${folder}/${name}`, { bigint: true });
      return stats.isBlockDevice() && deviceName(stats.rdev) === device;
    } catch {
      return false;
    }
  });
}
