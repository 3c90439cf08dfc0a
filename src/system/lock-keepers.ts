/**
 * Who keeps the lock of an open file description (fcntl(2)): every process that has a descriptor of it, which proc_pid_fdinfo(5)
 * says with a line `lock:`. Nothing here touches the file itself, whose storage may not answer.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { listPids, processStartTime } from './process.js';

export interface LockKeeper {
  readonly pid: number;
  readonly startTime: number;
}

/**
 * Those of other processes that may be looked into. Whoever only tries whether anybody has it locked, and so gets the lock of a
 * file that nobody keeps, has let go of it again before the second look.
 * @param path absolute, of the file as it was opened
 */
export function lockKeepers(path: string, root = '/proc'): readonly LockKeeper[] {
  const found = listPids(root).flatMap((pid) => {
    const startTime = pid === process.pid ? undefined : processStartTime(pid);
    const fds = startTime === undefined ? [] : lockingFds(join(root, String(pid)), path);
    return startTime === undefined || fds.length === 0 ? [] : [{ pid, startTime, fds }];
  });
  return found
    .filter(({ pid, fds }) => fds.some((fd) => isLocked(join(root, String(pid)), fd)))
    .map(({ pid, startTime }) => ({ pid, startTime }));
}

function lockingFds(folder: string, path: string): readonly string[] {
  try {
    return readdirSync(join(folder, 'fd')).filter((fd) => isOf(folder, fd, path) && isLocked(folder, fd));
  } catch {
    return []; // It has ended, or is another user's.
  }
}

function isOf(folder: string, fd: string, path: string): boolean {
  try {
    const target = readlinkSync(join(folder, 'fd', fd));
    return target === path || target === `${path} (deleted)`;
  } catch {
    return false;
  }
}

function isLocked(folder: string, fd: string): boolean {
  try {
    return /^lock:/m.test(readFileSync(join(folder, 'fdinfo', fd), 'latin1'));
  } catch {
    return false;
  }
}
