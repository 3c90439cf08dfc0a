/** Locks that the kernel has for a file and that no process which could be seen holds. */
import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { inodeOf, sameInode } from '../system/inode.js';
import type { LockLine } from '../system/lock-lines.js';
import type { KernelTables } from '../system/kernel-uses.js';
import { readLocksOf } from '../system/lock-lines.js';
import { testLock } from '../system/ofd-lock.js';
import type { Holder, Inode, Resource } from '../vocabulary.js';
import { describeProcess } from './describe-process.js';
import type { ProcessDescription } from './describe-process.js';
import { meaningOf } from './lock-meaning.js';
import { describedAs, lockEvidence, processRemedy } from './process-holder.js';
import { refusedByLocks } from './refused-modes.js';

/**
 * The lines of /proc/locks for an inode, less those found at a process. Each stands there once, however many
 * processes share it. Undefined: the table cannot be read.
 * @param before the table as it was before the processes were looked through: a lock that was taken since then has
 * not been looked for.
 */
export function unaccountedLocks(
  resource: Resource,
  inode: Inode,
  before: readonly LockLine[] | undefined,
  seen: readonly LockLine[],
  { mounts }: Pick<KernelTables, 'mounts'>,
): LockLine[] | undefined {
  const found = new Set(seen.map(lockKey));
  // Where the mount table has the file's own device, the lock table has it too: another one is another file's.
  const exact = mounts.some(({ dev }) => dev === inode.dev);
  const isUnseen = (lock: LockLine): boolean =>
    lock.kind !== 'LEASE' && (!exact || lock.inode.dev === inode.dev) && !found.has(lockKey(lock));
  const unseen = before?.filter(isUnseen);
  // Each reading of the table costs milliseconds (lock-lines.ts).
  if (unseen?.length === 0) return [];
  const old = new Set(unseen?.map(lockKey));
  const still = readLocksOf(inode)?.filter((lock) => isUnseen(lock) && old.has(lockKey(lock)));
  return exact || still === undefined ? still : locksOfFile(resource, inode, still, mounts);
}

/**
 * Those of the locks that are on this file, and not on a namesake: the subvolumes and snapshots of a btrfs share their
 * inode numbers, and the device in the table is another one than the file's (stat(2)). Of locks on bytes the kernel
 * answers for the file itself; of the others only the file system can be compared.
 */
function locksOfFile(
  { path, realPath }: Resource,
  inode: Inode,
  locks: readonly LockLine[],
  mounts: KernelTables['mounts'],
): LockLine[] {
  const fileSystem = realPath === undefined ? undefined : deviceOfMount(realPath, mounts);
  const maybe = locks.filter(
    ({ kind, inode: { dev } }) => kind !== 'FLOCK' || fileSystem === undefined || dev === fileSystem,
  );
  let fd: number | undefined;
  try {
    // Before opening: what took its place might be a device.
    if (path === undefined || !sameInode(inodeOf(statSync(path, { bigint: true })), inode)) return maybe;
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (!sameInode(inodeOf(fstatSync(fd, { bigint: true })), inode)) return maybe;
    const file = fd;
    return maybe.filter(({ kind, start, end }) => {
      if (kind !== 'POSIX' && kind !== 'OFD') return true;
      return testLock(file, 'write', start, end === undefined ? 0 : end - start + 1) !== undefined;
    });
  } catch {
    return maybe; // Not ours to read.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** The device of the file system that a path without symlinks is on; of several mounts on one point the last's. */
function deviceOfMount(realPath: string, mounts: KernelTables['mounts']): string | undefined {
  const above = mounts.filter(({ point }) => `${realPath}/`.startsWith(point === '/' ? point : `${point}/`));
  const longest = Math.max(...above.map(({ point }) => point.length));
  return above.findLast(({ point }) => point.length === longest)?.dev;
}

/** Without the device, which btrfs and overlay give in two ways. */
function lockKey({ kind, type, pid, start, end, inode }: LockLine): string {
  return [kind, type, pid, start, end, inode.ino].join(' ');
}

/**
 * One holder for each process that the table names, and one for the locks that belong to no process by name. A POSIX
 * lock ends with its process; a flock(2) lives as long as the descriptor, wherever that was passed on to: its pid may
 * be another process's by now.
 */
export function unaccountedHolders(locks: readonly LockLine[]): Holder[] {
  const byPid = new Map<number | undefined, LockLine[]>();
  for (const lock of locks) {
    const owner = lock.kind === 'POSIX' ? lock.pid : undefined;
    byPid.set(owner, [...(byPid.get(owner) ?? []), lock]);
  }
  return [...byPid].map(([pid, ownLocks]) => {
    const process = pid === undefined ? undefined : describeProcess(pid);
    const { through, mode, does } = meaningOf(ownLocks, process?.program);
    const refuses = refusedByLocks(ownLocks);
    return {
      ...describedAs(process),
      ...(process === undefined && pid !== undefined ? { pid } : {}),
      host: 'this host',
      ...(mode === undefined ? {} : { mode }),
      through,
      ...(does.length === 0 ? {} : { does }),
      evidence: lockEvidence(ownLocks, '/proc/locks: '),
      refuses,
      ...(refuses.length === 0 ? {} : { remedy: remedyFor(pid, process) }),
    };
  });
}

function remedyFor(pid: number | undefined, process: ProcessDescription | undefined): string {
  return pid === undefined ? 'look again as root to see which process it is' : processRemedy(pid, process);
}
