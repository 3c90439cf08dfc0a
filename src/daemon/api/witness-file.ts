/**
 * A file whose lock says that somebody still keeps a hold, however far he has gone from the process that asked for it: a
 * lock of an open file description, which whoever inherits the descriptor has too.
 */
import { closeSync, constants, lstatSync, openSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { causeText, HoldfastError } from '../../errors.js';
import { testLock, tryLock } from '../../system/ofd-lock.js';
import { privateDirectory } from '../../system/runtime-directory.js';

const { O_RDONLY, O_RDWR, O_NOFOLLOW, O_NONBLOCK } = constants;

/** Throws `BAD_DATA` where it is no file, `NOT_PERMITTED` where others could put another one in its place. */
export function requireWitness(path: string): void {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats?.isFile() !== true || stats.uid !== process.geteuid?.()) {
    throw new HoldfastError('BAD_DATA', `the witness ${path} is no file of the user whom the daemon runs as`);
  }
  privateDirectory(dirname(path));
}

/** Whether anybody has it locked. What cannot be found out counts as yes: a hold is not given up for want of a descriptor. */
export function isWitnessed(path: string): boolean {
  try {
    return withFile(path, O_RDONLY, (fd) => testLock(fd, 'write', 0, 0) !== undefined);
  } catch (error) {
    return !isMissing(error);
  }
}

/** Removes it, unless somebody has it locked all the same. */
export function removeWitness(path: string): void {
  try {
    withFile(path, O_RDWR, (fd) => {
      if (tryLock(fd, 'write', 0, 0)) unlinkSync(path);
    });
  } catch (error) {
    // Removed by whoever made it; else it stays, empty, and is removed by the next one who makes one.
    if (!isMissing(error) && (error as NodeJS.ErrnoException).code === undefined) {
      throw new HoldfastError('INTERNAL', causeText(error), { cause: error });
    }
  }
}

function withFile<Result>(path: string, flags: number, use: (fd: number) => Result): Result {
  const fd = openSync(path, flags | O_NOFOLLOW | O_NONBLOCK);
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ELOOP' || code === 'ENOTDIR';
}
