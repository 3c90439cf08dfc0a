/** The file or device that an area is in: what it is, whether something is in it, and room for one more. */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
  unlinkSync,
  type Stats,
} from 'node:fs';
import { causeText, HoldfastError } from '../../errors.js';
import { groupId } from '../../system/group-id.js';
import { parsePasswd } from '../../system/user-name.js';

/** What an area takes on a file, which counts as having sectors of 512 bytes. */
const mebibyte = 1024 * 1024;

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

/** Whether anything but zeros is in an area, as far as the file goes. */
export function hasData(path: string, offset: number): boolean {
  const fd = open(path, constants.O_RDONLY);
  try {
    const bytes = Buffer.alloc(mebibyte);
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read) {
      read = readSync(fd, bytes, length, bytes.length - length, offset + length);
    }
    return bytes.subarray(0, length).some((byte) => byte !== 0);
  } finally {
    closeSync(fd);
  }
}

/** A new file belongs to the daemon, which has to write it. */
export function makeRoom(path: string, offset: number, stats: Stats | undefined): void {
  if (stats?.isBlockDevice() === true) return;
  const end = offset + mebibyte;
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
    throw new HoldfastError(
      'DRIVER_FAILED',
      `${path} could not be given the size that is needed: ${causeText(cause)}`,
      {
        resource: path,
        cause,
      },
    );
  } finally {
    closeSync(fd);
  }
}

function open(path: string, flags: number): number {
  try {
    return openSync(path, flags | constants.O_NONBLOCK, 0o600);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const denied = code === 'EACCES' || code === 'EPERM' || code === 'EROFS';
    throw new HoldfastError(
      denied ? 'NOT_PERMITTED' : code === 'ENOENT' || code === 'ENOTDIR' ? 'NO_SUCH_FILE' : 'DRIVER_FAILED',
      `${path} could not be opened: ${causeText(cause)}`,
      {
        resource: path,
        cause,
        ...(denied ? { remedy: 'Run as root, or as a user who may write there.' } : {}),
      },
    );
  }
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
