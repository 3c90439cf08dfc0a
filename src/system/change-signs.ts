/**
 * Cheap signs that something changed, for whoever would else have to look at everything again and again. Each is a
 * text that differs when there is something new; what it says means nothing else.
 */
import { closeSync, openSync, readdirSync, statSync } from 'node:fs';
import { libcFunction } from './libc.js';
import { lockTableBytesMax } from './lock-lines.js';
import { readProcText } from './proc-file.js';

const poll = libcFunction<[descriptors: Buffer, count: number, timeoutMs: number]>(
  'int poll(void *descriptors, unsigned long count, int timeout)',
);

const POLLPRI = 0x2;
const POLLERR = 0x8;
/** `struct pollfd`: i32 descriptor, i16 events asked for, i16 events there are. */
const pollfdBytes = 8;

/**
 * Whether file systems were mounted or swap space was taken since the last question: the kernel tells by poll(2)
 * (proc_pid_mounts(5), proc_swaps(5)), so the tables need not be read.
 */
export class TableChanges {
  readonly #descriptors: readonly number[];
  readonly #pollfds: Buffer;

  constructor(root = '/proc') {
    this.#descriptors = [`${root}/self/mountinfo`, `${root}/swaps`].flatMap((path) => {
      try {
        return [openSync(path, 'r')];
      } catch {
        return []; // A kernel without swap has no such table.
      }
    });
    this.#pollfds = Buffer.alloc(pollfdBytes * this.#descriptors.length);
    for (const [index, fd] of this.#descriptors.entries()) {
      this.#pollfds.writeInt32LE(fd, index * pollfdBytes);
      this.#pollfds.writeInt16LE(POLLPRI, index * pollfdBytes + 4);
    }
  }

  changed(): boolean {
    if (poll(this.#pollfds, this.#descriptors.length, 0) <= 0) return false;
    return this.#descriptors.some(
      (_, index) => (this.#pollfds.readInt16LE(index * pollfdBytes + 6) & (POLLPRI | POLLERR)) !== 0,
    );
  }

  close(): void {
    this.#descriptors.forEach((fd) => closeSync(fd));
  }
}

/** The kernel's table of locks, as it is; undefined: it cannot be read. */
export function readLockTable(root = '/proc'): string | undefined {
  return readProcText(`${root}/locks`, lockTableBytesMax);
}

/** The lines of the table about an inode number, without their numbers, which change with other files' locks. */
export function lockSign(table: string, ino: string): string {
  const wanted = `:${ino} `;
  // Nearly always there is none, and the table of a busy host is long.
  if (!table.includes(wanted)) return '';
  return table
    .split('\n')
    .filter((line) => line.includes(wanted))
    .map((line) => line.slice(line.indexOf(':') + 1))
    .toSorted()
    .join('\n');
}

/** Which file or device a path leads to. */
export function pathSign(path: string): string {
  try {
    const { dev, ino, rdev } = statSync(path, { bigint: true });
    return `${dev}:${ino}:${rdev}`;
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}

/** Whether entries of a folder came or went. */
export function folderSign(folder: string): string {
  try {
    return String(statSync(folder, { bigint: true }).mtimeNs);
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}

/** What stands on a block device (`major:minor`): device-mapper, md and the like, as sysfs lists them. */
export function stackSign(device: string, root = '/sys'): string {
  try {
    return readdirSync(`${root}/dev/block/${device}/holders`).toSorted().join(' ');
  } catch {
    return '';
  }
}
