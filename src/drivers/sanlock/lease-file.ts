/** The file or device that an area is in: what it is, whether something is in it, and room for one more. */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  type Stats,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import { causeText, HoldfastError } from '../../errors.js';
import { blockDeviceSize } from '../../system/block-devices.js';
import { directBytes, DirectFile } from '../../system/direct-read.js';
import { groupId } from '../../system/group-id.js';
import { deviceName } from '../../system/inode.js';
import { parsePasswd } from '../../system/user-name.js';
import { mebibyte, sizeInWords } from './area-form.js';

/** Undefined: there is nothing of that name. */
export function lookAtFile(path: string): Stats | undefined {
  let stats: Stats;
  try {
    stats = statSync(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw new HoldfastError(
      code === 'ENOTDIR' ? 'NO_SUCH_FILE' : 'NOT_READABLE',
      `${path} cannot be looked at`,
      {
        resource: path,
        cause,
      },
    );
  }
  if (stats.isFile() || stats.isBlockDevice()) return stats;
  throw new HoldfastError('NOT_A_DISK', `${path} is neither a file nor a block device`, { resource: path });
}

/** How long it is, and of a device how large its sectors are. Of one that sysfs does not know, sanlock finds the end. */
export function storageOf(stats: Stats): { readonly bytes: number; readonly sectorBytes?: number } {
  if (!stats.isBlockDevice()) return { bytes: stats.size };
  return blockDeviceSize(deviceName(BigInt(stats.rdev))) ?? { bytes: Number.MAX_SAFE_INTEGER };
}

/** Whether anything but zeros is in a part of it, as far as it goes. */
export function hasData(path: string, offset: number, bytes: number): boolean {
  return readDirectly(path, (file) => {
    for (let at = 0; at < bytes; at += mebibyte) {
      const part = file.read(offset + at, mebibyte);
      if (part.some((byte) => byte !== 0)) return true;
      if (part.length < mebibyte) return false;
    }
    return false;
  });
}

/** Where areas may begin from one offset to before another: at multiples of 1 MiB, whatever is said there. */
export function possibleAreas(path: string, from: number, to: number): readonly number[] {
  return readDirectly(path, (file) => {
    const found: number[] = [];
    for (let at = from; at < to; at += mebibyte) {
      const head = file.read(at, directBytes);
      if (head.length === 0) break;
      if (head.length >= 4 && magics.includes(head.readUInt32LE(0))) found.push(at);
    }
    return found;
  });
}

/** leader.h of sanlock: what a lease and a lockspace begin with, in little endian on every machine. */
const magics: readonly number[] = [0x06152010, 0x12212010];

function readDirectly<Result>(path: string, work: (file: DirectFile) => Result): Result {
  let file: DirectFile;
  try {
    file = new DirectFile(path);
  } catch (cause) {
    throw openFault(path, cause);
  }
  try {
    return work(file);
  } catch (cause) {
    const message = `${path} could not be read: ${causeText(cause)}`;
    throw new HoldfastError('DRIVER_FAILED', message, { resource: path, cause });
  } finally {
    file.close();
  }
}

/** A new file belongs to the daemon, which has to write it. */
export function makeRoom(path: string, end: number, stats: Stats | undefined): void {
  if (stats?.isBlockDevice() === true) return;
  if (stats !== undefined && stats.size >= end) return;
  const fd = open(
    path,
    constants.O_WRONLY | (stats === undefined ? constants.O_CREAT | constants.O_EXCL : 0),
  );
  try {
    if (stats === undefined) {
      fchmodSync(fd, 0o660);
      const user = process.geteuid?.() === 0 ? daemonUser() : undefined;
      if (user !== undefined) fchownSync(fd, user.uid, user.gid);
    }
    ftruncateSync(fd, end);
  } catch (cause) {
    if (stats === undefined) unlinkSync(path);
    const message = `${path} could not be given ${sizeInWords(end)}: ${causeText(cause)}`;
    const tooLarge = (cause as NodeJS.ErrnoException).code === 'EFBIG';
    throw new HoldfastError(tooLarge ? 'USAGE' : 'DRIVER_FAILED', message, {
      resource: path,
      cause,
      remedy: tooLarge ? 'Name a smaller offset.' : 'Make room in that file system, or name another.',
    });
  } finally {
    closeSync(fd);
  }
}

function open(path: string, flags: number): number {
  try {
    return openSync(path, flags | constants.O_NONBLOCK, 0o600);
  } catch (cause) {
    throw openFault(path, cause);
  }
}

function openFault(path: string, cause: unknown): HoldfastError {
  const { code } = cause as NodeJS.ErrnoException;
  const denied = code === 'EACCES' || code === 'EPERM' || code === 'EROFS';
  const missing = code === 'ENOENT' || code === 'ENOTDIR';
  const message = missing
    ? `there is no folder ${dirname(path)} for ${basename(path)}`
    : `${path} could not be opened: ${causeText(cause)}`;
  return new HoldfastError(denied ? 'NOT_PERMITTED' : missing ? 'NO_SUCH_FILE' : 'DRIVER_FAILED', message, {
    resource: path,
    cause,
    ...(denied ? { remedy: 'Run as root, or as a user who may write there.' } : {}),
    ...(missing ? { remedy: 'Check the path, and whether its file system is mounted here.' } : {}),
  });
}

/** As whom sanlock runs (sanlock.conf); undefined: there is no such user, so it can only be root. */
function daemonUser(): { readonly uid: number; readonly gid: number } | undefined {
  const conf = textOf('/etc/sanlock/sanlock.conf');
  const name = (key: string): string =>
    new RegExp(`^\\s*${key}\\s*=\\s*(\\S+)`, 'm').exec(conf)?.[1] ?? 'sanlock';
  const wanted = name('uname');
  const uid = [...parsePasswd(textOf('/etc/passwd'))].find(([, user]) => user === wanted)?.[0];
  const gid = groupId(name('gname'));
  return uid === undefined || gid === undefined ? undefined : { uid, gid };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
