/**
 * Whether anyone has a file open for writing, asked of the kernel in one step instead of reading all of /proc.
 *
 * A read lease (fcntl(2), "Leases") is given on a descriptor opened for reading only if nobody at all has the inode
 * open for writing: no process of any user or namespace, no writable shared mapping whose descriptor is closed, no
 * loop device, no swap file. So it is taken, and given back at once. "Nobody" is nobody on this host, and on a FUSE
 * file system nobody through the same mount.
 *
 * Whoever opens the file for writing in that moment waits until the lease is given back, a few microseconds (while
 * this process is stopped: /proc/sys/fs/lease-break-time, 45 seconds). Only an opener with O_NONBLOCK gets
 * EWOULDBLOCK instead; our own opens use it and try again.
 */
import { closeSync, constants, openSync, statSync } from 'node:fs';
import { kernelRelease } from './kernel-settings.js';
import { errno, fcntlNumber } from './libc.js';

const F_SETSIG = 10;
const F_SETLEASE = 1024;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;
const EAGAIN = 11;
const SIGURG = 23;

/**
 * Whether anyone has a regular file open for writing; undefined: the kernel does not tell (not the file's owner, a
 * file system without leases such as NFS, not a regular file, not there).
 *
 * @param file a path, or a descriptor that was opened for reading only: one opened for writing counts as a writer.
 */
export function isOpenForWriting(file: string | number): boolean | undefined {
  return typeof file === 'number' ? testLease(file, F_RDLCK) : testPath(file);
}

/**
 * Whether anyone else has a regular file open at all, readers too, by a write lease; undefined: the kernel does not
 * tell. Whoever opens it in that moment, for reading too, waits or gets EWOULDBLOCK as above: not to be asked of a disk
 * at every start. Linux counts readers for it since 5.3 (commit 387e3746d01c): before, whatever else knew the inode was
 * in the way, an inotify watch for instance.
 *
 * @param fd opened for reading only.
 */
export function isOpenElsewhere(fd: number, release = kernelRelease() ?? ''): boolean | undefined {
  const [major = 0, minor = 0] = release.split('.', 2).map((part) => Number.parseInt(part, 10));
  return major > 5 || (major === 5 && minor >= 3) ? testLease(fd, F_WRLCK) : undefined;
}

function testPath(path: string): boolean | undefined {
  let fd: number | undefined;
  try {
    // Looked at first: opening a device or a pipe can have effects of its own.
    if (!statSync(path).isFile()) return undefined;
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return testLease(fd, F_RDLCK);
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function testLease(fd: number, kind: number): boolean | undefined {
  // Whoever breaks a lease makes the kernel send its holder a signal, SIGIO by default, which kills. SIGURG is ignored
  // by default, and it has to be set *before* there is a lease to break.
  if (fcntlNumber(fd, F_SETSIG, SIGURG) === -1) return undefined;
  if (fcntlNumber(fd, F_SETLEASE, kind) === -1) {
    return errno() === EAGAIN ? true : undefined;
  }
  fcntlNumber(fd, F_SETLEASE, F_UNLCK);
  return false;
}
