/**
 * Files whose lock says that somebody serves: one beside each socket, and virtlockd's own pid file.
 *
 * virtlockd write-locks byte 0 of its pid file, looks whether the path still leads to it, writes its pid and keeps it open
 * as long as it runs (seen with libvirt 9.0). A lock of an open file description there keeps it out as well.
 */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { pauseThread } from '../../system/clock.js';
import { tryLock } from '../../system/ofd-lock.js';

const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
/** Each round means that somebody removed the file between our open and our lock, or has the lock and no pid in it yet. */
const roundsMax = 400;
/** Who has just locked it writes its pid next. */
const pidPauseMs = 5;
const pidBytesMax = 32;

/** The descriptor that has the lock; or who has it, if the file says. The folder is there. */
export function takeGuard(path: string, mode: number): number | { readonly takenBy: number | undefined } {
  for (let round = 0; round < roundsMax; round++) {
    const fd = openSync(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, mode);
    let kept = false;
    try {
      if (!tryLock(fd, 'write', 0)) {
        const takenBy = readPid(fd);
        if (takenBy !== undefined) return { takenBy };
        pauseThread(pidPauseMs);
        continue;
      }
      if (!leadsTo(path, fd)) continue;
      writePid(fd);
      kept = true;
      return fd;
    } finally {
      if (!kept) closeSync(fd);
    }
  }
  return { takenBy: undefined };
}

/** Says that it is this process's now: the lock came with its descriptor. */
export function writePid(fd: number): void {
  ftruncateSync(fd, 0);
  writeSync(fd, `${process.pid}\n`, 0);
}

/** Removes it while it is locked still, so that nobody locks what is about to go. */
export function dropGuard(path: string, fd: number): void {
  try {
    if (leadsTo(path, fd)) unlinkSync(path);
  } catch {
    // It stays, unlocked: the next one takes it.
  }
  closeSync(fd);
}

function leadsTo(path: string, fd: number): boolean {
  const named = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  const open = fstatSync(fd, { bigint: true });
  return named?.ino === open.ino && named.dev === open.dev;
}

function readPid(fd: number): number | undefined {
  const bytes = Buffer.alloc(pidBytesMax);
  const text = bytes.toString('latin1', 0, readSync(fd, bytes, 0, bytes.length, 0)).trim();
  return /^[1-9]\d{0,9}$/.test(text) ? Number(text) : undefined;
}
