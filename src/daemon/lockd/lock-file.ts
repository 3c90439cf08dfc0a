/**
 * The kernel's side of a lock: the file, and the bytes that are locked in it.
 *
 * Byte 0 as virtlockd locks it, for writing or, shared, for reading; a shared one marks byte 2 as well, as Holdfast's own
 * shared holders do, so that those who hold a disk only for reading (byte 3) and it exclude each other.
 */
import { closeSync } from 'node:fs';
import { errno, libcFunction, systemError } from '../../system/libc.js';
import { testLock, tryLock, unlockAll } from '../../system/ofd-lock.js';

export interface LockFileRequest {
  readonly path: string;
  readonly shared: boolean;
  /** Make the file where it is missing, and remove it with the lock. */
  readonly autocreate: boolean;
  /** The last name of the path must not be a symlink: in a lockspace nobody puts one there for a good reason. */
  readonly inLockspace: boolean;
}

/** `held`: someone else has it, or is just trying; else what open(2) or fcntl(2) said. */
export type LockFileFailure =
  { readonly failed: 'held' } | { readonly failed: 'system'; readonly errno: number };

const O_RDWR = 2;
const O_CREAT = 0o100;
const O_NOCTTY = 0o400;
const O_NONBLOCK = 0o4000;
const O_NOFOLLOW = process.arch === 'arm64' || process.arch === 'arm' ? 0o100000 : 0o400000;
const O_CLOEXEC = 0o2000000;
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const STATX_TYPE_AND_NLINK = 0x1 | 0x4;
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFBLK = 0o060000;
const EINVAL = 22;

const guardByte = 0;
const sharedByte = 2;
const readAndPartBytes = { start: 3, length: 2 } as const;
/** Each round means that somebody removed the file between our open and our lock. */
const roundsMax = 1_000;

const openat = libcFunction<[folder: number, path: string, flags: number, mode: number]>(
  'int openat(int folder, const char *path, int flags, int mode)',
);
const statx = libcFunction<[folder: number, path: string, flags: number, mask: number, result: Buffer]>(
  'int statx(int folder, const char *path, int flags, uint mask, void *result)',
);
const unlink = libcFunction<[path: string]>('int unlink(const char *path)');
/** `struct statx` (statx(2)): links at 16, mode at 28. */
const statxResult = Buffer.alloc(256);

/** Opens and locks. Gives the descriptor. */
export function takeLockFile(request: LockFileRequest): number | LockFileFailure {
  const { path, shared, autocreate, inLockspace } = request;
  const flags =
    O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC | (autocreate ? O_CREAT : 0) | (inLockspace ? O_NOFOLLOW : 0);
  for (let round = 0; round < roundsMax; round++) {
    const fd = openat(AT_FDCWD, path, flags, 0o600);
    if (fd === -1) return { failed: 'system', errno: errno() };
    try {
      if (!lockBytes(fd, shared)) {
        closeSync(fd);
        return { failed: 'held' };
      }
      const links = linksOf(fd);
      // Removed by a holder that was just ending: what is locked then is nobody's lock.
      if (links === 0) {
        closeSync(fd);
        continue;
      }
      if (links !== undefined) return fd;
      closeSync(fd);
      return { failed: 'system', errno: EINVAL };
    } catch (error) {
      closeSync(fd);
      return { failed: 'system', errno: Math.abs((error as NodeJS.ErrnoException).errno ?? EINVAL) };
    }
  }
  return { failed: 'held' };
}

/** Takes the bytes again through a descriptor that has them, or had them; false: someone else has them now. */
export function lockBytes(fd: number, shared: boolean): boolean {
  if (!shared) return tryLock(fd, 'write', guardByte);
  // Lock first, then test, then give up: two that start at once may both fail, never both win.
  return (
    tryLock(fd, 'read', guardByte) &&
    tryLock(fd, 'read', sharedByte) &&
    testLock(fd, 'write', readAndPartBytes.start, readAndPartBytes.length) === undefined
  );
}

/** Gives the lock back, whoever else has a duplicate of its descriptor, and removes the file if it was made for the lock. */
export function giveLockFileBack(fd: number, path: string, shared: boolean, autocreated: boolean): void {
  // Under a write lock only, so that whoever opens the file later meets the lock or finds that it is gone.
  if (autocreated && (!shared || tryLock(fd, 'write', guardByte))) unlink(path);
  unlockAll(fd);
  closeSync(fd);
}

/** Undefined: it is neither a regular file nor a block device, and only these have locks that anybody means. */
function linksOf(fd: number): number | undefined {
  if (statx(fd, '', AT_EMPTY_PATH, STATX_TYPE_AND_NLINK, statxResult) === -1) throw systemError('statx');
  const type = statxResult.readUInt16LE(28) & S_IFMT;
  return type === S_IFREG || type === S_IFBLK ? statxResult.readUInt32LE(16) : undefined;
}
