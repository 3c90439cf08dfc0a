/**
 * The kernel's side of a lock: the file, and the bytes that are locked in it.
 *
 * Byte 0 as virtlockd locks it, for writing or, shared, for reading; a shared one marks byte 2 as well, as Holdfast's own
 * shared holders do, so that those who hold a disk only for reading (byte 3) and it exclude each other.
 */
import { closeDescriptor } from '../../system/descriptors.js';
import { errno, libcFunction, systemError } from '../../system/libc.js';
import { isLocalType } from '../../system/local-file-system.js';
import { testLock, tryLock, unlockAll } from '../../system/ofd-lock.js';

export interface LockFileRequest {
  readonly path: string;
  readonly shared: boolean;
  /** Make the file where it is missing, and remove it with the lock. */
  readonly autocreate: boolean;
  /**
   * A file of a lockspace is no symlink, and nobody but its owner may open it: who can open it can lock it. A disk of
   * the direct lockspace is what its path leads to.
   */
  readonly inLockspace: boolean;
}

/**
 * `held`: someone else has it, or is just trying; `system`: what open(2) or fcntl(2) said; `refused`: it is nothing that is
 * locked, and `why`.
 */
export type LockFileFailure =
  | { readonly failed: 'held' }
  | { readonly failed: 'system'; readonly errno: number }
  | { readonly failed: 'refused'; readonly why: string };

const O_RDWR = 2;
const O_CREAT = 0o100;
const O_NOCTTY = 0o400;
const O_NONBLOCK = 0o4000;
const O_NOFOLLOW = process.arch === 'arm64' || process.arch === 'arm' ? 0o100000 : 0o400000;
const O_CLOEXEC = 0o2000000;
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_SYMLINK_NOFOLLOW = 0x100;
const STATX_MASK = 0x1 | 0x2 | 0x4 | 0x100;
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFBLK = 0o060000;
const othersMode = 0o077;
const ENOENT = 2;
const EIO = 5;
/** Of open(2), where the path led to the file before and does not any more; ELOOP: to a symlink. */
const goneNumbers: readonly number[] = [ENOENT, 40, 116];

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
const fstatfs = libcFunction<[fd: number, result: Buffer]>('int fstatfs(int fd, void *result)');
/** `struct statx` (statx(2)): links at 16, mode at 28, inode at 32, device at 136. */
const statxResult = Buffer.alloc(256);
/** The same of the file that was opened. */
const openedFile = Buffer.alloc(256);
/** Of `struct statx`: the words of inode and device. */
const fileWords: readonly number[] = [32, 36, 136, 140];
/** `struct statfs` (statfs(2)): the type at 0. */
const statfsResult = Buffer.alloc(256);

/** Where the file of a resource is; in the direct lockspace, '', the name is a path. */
export function pathOf(lockspace: string, name: string): string {
  return lockspace === '' ? name : `${lockspace}/${name}`;
}

/** Opens and locks. Gives the descriptor. */
export function takeLockFile(request: LockFileRequest): number | LockFileFailure {
  for (let round = 0; round < roundsMax; round++) {
    const fd = openLockFile(request);
    if (typeof fd !== 'number') return fd;
    const failure = lockOpened(fd, request);
    if (failure === undefined) return fd;
    closeDescriptor(fd);
    // Removed by a holder that was just ending: what is locked then is nobody's lock.
    if (failure !== 'removed') return failure;
  }
  return { failed: 'held' };
}

/** Makes the file of a resource, or finds it. Undefined: it is there. */
export function makeLockFile(path: string): LockFileFailure | undefined {
  const fd = openLockFile({ path, autocreate: true, inLockspace: true });
  if (typeof fd !== 'number') return fd;
  const failure = refusalOf(fd, true);
  closeDescriptor(fd);
  return failure === 'removed' ? undefined : failure;
}

/** Removes the file of a resource that nobody holds. Undefined: there is none now. */
export function removeLockFile(path: string): LockFileFailure | undefined {
  const fd = takeLockFile({ path, shared: false, autocreate: false, inLockspace: true });
  if (typeof fd !== 'number') {
    return fd.failed === 'system' && fd.errno === ENOENT ? undefined : fd;
  }
  giveLockFileBack(fd, path, false, true);
  return undefined;
}

/**
 * Whether the path still leads to the file: whoever has the lock may remove it between our open and our lock, and a second
 * name of it (a backup of hard links) would hide that from the number of links. On a network file system what stat(2) says
 * is old for a while (GlusterFS 10: a second): only to open the path again does. Throws what the system says.
 */
export function isStillAt(fd: number, path: string): boolean {
  return look(fd, '', AT_EMPTY_PATH) && leadsToLooked(fd, path);
}

/** The same when `fd` was looked at last. */
function leadsToLooked(fd: number, path: string): boolean {
  statxResult.copy(openedFile);
  if (!look(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW) || !isOpenedFile()) return false;
  if (fstatfs(fd, statfsResult) === 0 && isLocalType(Number(statfsResult.readBigInt64LE(0)))) return true;
  const again = openLockFile({ path, autocreate: false, inLockspace: true });
  if (typeof again !== 'number') {
    if (again.failed === 'system' && !goneNumbers.includes(again.errno))
      throw systemError('openat', again.errno, path);
    return false;
  }
  try {
    return look(again, '', AT_EMPTY_PATH) && isOpenedFile();
  } finally {
    closeDescriptor(again);
  }
}

/** Fills `statxResult`. False: there is no file. */
function look(folder: number, path: string, flags: number): boolean {
  if (statx(folder, path, flags, STATX_MASK, statxResult) === 0) return true;
  const number = errno();
  if (goneNumbers.includes(number)) return false;
  throw systemError('statx', number);
}

/** Whether both results are of one file. */
function isOpenedFile(): boolean {
  return fileWords.every((at) => statxResult.readUInt32LE(at) === openedFile.readUInt32LE(at));
}

function openLockFile({
  path,
  autocreate,
  inLockspace,
}: Omit<LockFileRequest, 'shared'>): number | LockFileFailure {
  const flags =
    O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC | (autocreate ? O_CREAT : 0) | (inLockspace ? O_NOFOLLOW : 0);
  const fd = openat(AT_FDCWD, path, flags, 0o600);
  return fd === -1 ? { failed: 'system', errno: errno() } : fd;
}

function lockOpened(
  fd: number,
  { path, shared, inLockspace }: LockFileRequest,
): LockFileFailure | 'removed' | undefined {
  try {
    if (!lockBytes(fd, shared)) return { failed: 'held' };
    const refusal = refusalOf(fd, inLockspace);
    if (refusal !== undefined || !inLockspace) return refusal;
    return leadsToLooked(fd, path) ? undefined : 'removed';
  } catch (error) {
    return { failed: 'system', errno: Math.abs((error as NodeJS.ErrnoException).errno ?? EIO) };
  }
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
  closeDescriptor(fd);
}

/** Only regular files and block devices have locks that anybody means. */
function refusalOf(fd: number, inLockspace: boolean): LockFileFailure | 'removed' | undefined {
  if (statx(fd, '', AT_EMPTY_PATH, STATX_MASK, statxResult) === -1) throw systemError('statx');
  if (statxResult.readUInt32LE(16) === 0) return 'removed';
  const mode = statxResult.readUInt16LE(28);
  const type = mode & S_IFMT;
  if (type !== S_IFREG && (type !== S_IFBLK || inLockspace)) {
    return {
      failed: 'refused',
      why: inLockspace ? 'is no regular file' : 'is no regular file or block device',
    };
  }
  if (inLockspace && (mode & othersMode) !== 0) {
    const octal = (mode & 0o7777).toString(8).padStart(4, '0');
    return { failed: 'refused', why: `has mode ${octal}; in a lockspace only its owner may open it (0600)` };
  }
  return undefined;
}
