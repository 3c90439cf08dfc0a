/**
 * The loop devices of this host, and what stands behind each. The name in sysfs is only a name: the file may be
 * deleted, or the path may mean another file in our mount namespace. The kernel itself is asked where it lets us
 * (loop(4), LOOP_GET_STATUS64), else the name has to do.
 */
import { closeSync, constants, existsSync, fstatSync, openSync, readdirSync, statSync } from 'node:fs';
import type { Inode } from '../vocabulary.js';
import { readBlockDevice } from './block-devices.js';
import { deviceName, inodeOf } from './inode.js';
import { libcFunction } from './libc.js';
import { readProcText } from './proc-file.js';

export interface LoopDevice {
  /** `loop0`. */
  readonly name: string;
  /** `major:minor`. */
  readonly device: string;
  /** The path that sysfs has for the file behind it. */
  readonly file: string;
  /** The file behind it; undefined: not to be found out. */
  readonly inode?: Inode;
  /** Where that is a block device's node: the device, `major:minor`. */
  readonly backingDevice?: string;
  /** Nothing that goes through it changes the file. */
  readonly readOnly: boolean;
  /** The bytes of the file that it shows; `end` is Infinity where it shows all from `start` on. */
  readonly start: number;
  readonly end: number;
}

const LOOP_GET_STATUS64 = 0x4c05;
/** `struct loop_info64` begins with u64 device, u64 inode, u64 device of a node; 232 bytes in all. */
const loopInfoBytes = 232;

const ioctlBuffer = libcFunction<[fd: number, request: number, argument: Buffer]>(
  'int ioctl(int fd, ulong request, void *argument)',
);

/** The loop devices in use. */
export function readLoopDevices(sys = '/sys'): LoopDevice[] {
  let names: string[];
  try {
    names = readdirSync(`${sys}/block`).filter((name) => /^loop\d+$/.test(name));
  } catch {
    return [];
  }
  return names.map((name) => readLoopDevice(name, sys)).filter((loop) => loop !== undefined);
}

function readLoopDevice(name: string, sys: string): LoopDevice | undefined {
  // Most hosts have eight that nothing stands behind: those have no such folder.
  if (!existsSync(`${sys}/block/${name}/loop`)) return undefined;
  const device = readProcText(`${sys}/block/${name}/dev`, 64)?.trim();
  const loop = device === undefined ? undefined : readBlockDevice(device, sys)?.loop;
  if (device === undefined || loop === undefined) return undefined;
  const number = (path: string): number => Number(readProcText(`${sys}/block/${name}/${path}`, 64) ?? 0) || 0;
  const start = number('loop/offset');
  const limit = number('loop/sizelimit');
  return {
    name,
    device,
    file: loop.file,
    ...behindLoop(name, device, loop, sys),
    readOnly: number('ro') === 1,
    start,
    end: limit === 0 ? Infinity : start + limit,
  };
}

/** What stands behind a loop device, whatever its name leads to by now; nothing where that cannot be found out. */
export function behindLoop(
  name: string,
  device: string,
  loop: { readonly file: string; readonly deleted: boolean },
  sys: string,
): Pick<LoopDevice, 'inode' | 'backingDevice'> {
  // A recorded tree has no kernel behind it.
  const asked = sys === '/sys' ? askKernel(`/dev/${name}`, device) : undefined;
  if (asked !== undefined) return asked;
  if (loop.deleted) return {};
  try {
    const stats = statSync(loop.file, { bigint: true });
    return stats.isBlockDevice()
      ? { inode: inodeOf(stats), backingDevice: deviceName(stats.rdev) }
      : { inode: inodeOf(stats) };
  } catch {
    return {};
  }
}

function askKernel(path: string, device: string): Pick<LoopDevice, 'inode' | 'backingDevice'> | undefined {
  let fd: number | undefined;
  try {
    if (!statSync(path).isBlockDevice()) return undefined;
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (deviceName(fstatSync(fd, { bigint: true }).rdev) !== device) return undefined;
    const info = Buffer.alloc(loopInfoBytes);
    if (ioctlBuffer(fd, LOOP_GET_STATUS64, info) === -1) return undefined;
    const inode = { dev: deviceName(info.readBigUInt64LE(0)), ino: info.readBigUInt64LE(8).toString() };
    const backingDevice = deviceName(info.readBigUInt64LE(16));
    // Behind a file the third field repeats the first, or is zero: then it names no device of its own.
    return backingDevice === inode.dev || backingDevice === '0:0' ? { inode } : { inode, backingDevice };
  } catch {
    return undefined; // Not permitted, or detached meanwhile.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
