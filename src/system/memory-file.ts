/** A file that is in no file system (memfd_create(2)): memory that two processes share, and that ends with the last of them. */
import { closeSync, constants, fstatSync, openSync, readlinkSync, writeSync } from 'node:fs';
import { libcFunction, systemError } from './libc.js';
import { processStartTime } from './process.js';

const MFD_CLOEXEC = 1;

const memfdCreate = libcFunction<[name: string, flags: number]>(
  'int memfd_create(const char *name, uint flags)',
);

/** @param name shown in /proc/PID/fd, and means nothing. */
export function newMemoryFile(name: string): number {
  const fd = memfdCreate(name, MFD_CLOEXEC);
  if (fd === -1) throw systemError('memfd_create');
  return fd;
}

export interface MemoryFileOfProcess {
  readonly pid: number;
  readonly startTime: number;
  /** Its number there. */
  readonly fd: number;
  /** As it was made with. */
  readonly name: string;
  /** Decimal. */
  readonly inode: string;
}

/**
 * Writes a byte to another process's memory file. False, and nothing is written: it is not there any more, or its number is another
 * file's by now, whose first byte would be lost.
 */
export function markMemoryFile({ pid, startTime, fd, name, inode }: MemoryFileOfProcess): boolean {
  const path = `/proc/${pid}/fd/${fd}`;
  let opened: number | undefined;
  try {
    // Before it is opened: that alone does something to some devices.
    if (readlinkSync(path) !== `/memfd:${name} (deleted)`) return false;
    opened = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    if (String(fstatSync(opened, { bigint: true }).ino) !== inode) return false;
    return processStartTime(pid) === startTime && writeSync(opened, '!', 0) === 1;
  } catch {
    return false;
  } finally {
    if (opened !== undefined) closeSync(opened);
  }
}
