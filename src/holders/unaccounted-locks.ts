/** Locks that the kernel has for a file and that no process which could be seen holds. */
import type { LockLine } from '../system/lock-lines.js';
import type { KernelTables } from '../system/kernel-uses.js';
import { readLocksOf } from '../system/lock-lines.js';
import type { Holder, Inode } from '../vocabulary.js';
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
  return readLocksOf(inode)?.filter((lock) => isUnseen(lock) && old.has(lockKey(lock)));
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
