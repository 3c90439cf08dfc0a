/**
 * Files in a lockspace directory: one file a resource, made at need, removed when the last holder is gone.
 *
 * Invariant: a lock counts only if the path still leads to the file that is locked. Who removes a file does
 * so while it holds the write lock on it, so a newcomer that opened the old file sees after locking that the
 * path leads elsewhere, and starts again (as virtlockd does).
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, unlinkSync } from 'node:fs';
import { constants as system } from 'node:os';
import { HoldfastError } from '../../errors.js';
import { tryLock } from '../../system/ofd-lock.js';
import type { Mode } from '../../vocabulary.js';
import { takeMode, type ByteConflict } from './byte-locks.js';

/** Each round means that somebody removed the file in the moment between our open and our lock. */
const roundsMax = 1000;

const { O_RDONLY, O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;

export type LockFileOutcome = { readonly fd: number } | { readonly conflict: ByteConflict };

/**
 * Opens and locks a lock file, which is made if it is missing (0600). `own`: in a directory of this host's own.
 * Throws the system's error if it cannot be opened; a symlink is not followed (ELOOP).
 */
export function takeLockFile(path: string, mode: Mode, own: boolean): LockFileOutcome {
  for (let round = 0; round < roundsMax; round++) {
    const fd = openSync(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CREAT, 0o600);
    let kept = false;
    try {
      const conflict = takeMode(fd, mode, 'off');
      if (conflict !== undefined) return { conflict };
      if (own ? leadsTo(path, fd) : openedLeadsTo(path, fd)) {
        kept = true;
        return { fd };
      }
    } finally {
      if (!kept) closeSync(fd);
    }
  }
  throw new HoldfastError(
    'DRIVER_FAILED',
    `${path} was removed and made again ${roundsMax} times while it was being locked`,
    {
      remedy: 'Find out what removes the files of this directory.',
    },
  );
}

function leadsTo(path: string, fd: number): boolean {
  const named = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  const open = fstatSync(fd, { bigint: true });
  return named !== undefined && named.dev === open.dev && named.ino === open.ino;
}

/**
 * As `leadsTo`, for a directory that hosts may share: on a network file system neither the number of links nor what
 * lstat(2) says of the path tells for a while that another host has removed the file (GlusterFS 10: a second). To open
 * the path does.
 */
export function openedLeadsTo(path: string, fd: number): boolean {
  let again: number;
  try {
    again = openSync(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    const { errno = 0 } = error as NodeJS.ErrnoException;
    // By number: Node has no name for a stale handle.
    if (-errno === system.errno.ENOENT || -errno === system.errno.ESTALE) return false;
    throw error;
  }
  try {
    const [named, open] = [again, fd].map((one) => fstatSync(one, { bigint: true }));
    return named?.dev === open?.dev && named?.ino === open?.ino;
  } finally {
    closeSync(again);
  }
}

/**
 * Removes a lock file that nobody holds. Called after the own descriptor was closed: a child may have
 * inherited it, and then the lock is still there. So the file goes only under a write lock of its own.
 */
export function removeLockFileIfFree(path: string): void {
  let fd: number;
  try {
    fd = openSync(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  } catch {
    return; // Gone already, or not ours to remove: a file left behind harms nobody.
  }
  try {
    if (tryLock(fd, 'write', 0, 0) && openedLeadsTo(path, fd)) unlinkSync(path);
  } catch {
    // The same: it stays, empty.
  } finally {
    closeSync(fd);
  }
}

/** Opens a lock file only to see who holds it. Throws the system's error; it is not made. */
export function openLockFileForTest(path: string): number {
  return openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
}
