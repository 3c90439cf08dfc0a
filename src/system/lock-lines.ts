/**
 * The kernel's lines about file locks: /proc/locks (proc_locks(5)) and `lock:` in /proc/PID/fdinfo/FD
 * (proc_pid_fdinfo(5)), for instance `1: OFDLCK ADVISORY  WRITE -1 fe:00:1450084 100 101`.
 */
import type { Inode } from '../vocabulary.js';
import { readProcText } from './proc-file.js';

export interface LockLine {
  readonly kind: 'POSIX' | 'OFD' | 'FLOCK' | 'LEASE';
  readonly type: 'read' | 'write';
  /** Who took it. An OFD lock has none: it belongs to whoever has the descriptor. */
  readonly pid?: number;
  /**
   * The file system's own device and the inode. btrfs and overlay give files another device number in stat(2), so
   * the device may differ from the file's.
   */
  readonly inode: Inode;
  readonly start: number;
  /** The last byte locked; undefined: to the end of the file, however long it grows. */
  readonly end?: number;
  /** Without the number in front. */
  readonly text: string;
}

/** A busy host has some thousands of 70 bytes each, and a database can have as many on one file. */
export const lockTableBytesMax = 16 * 1024 * 1024;

const kinds: Readonly<Record<string, LockLine['kind']>> = {
  POSIX: 'POSIX',
  OFDLCK: 'OFD',
  FLOCK: 'FLOCK',
  LEASE: 'LEASE',
};

const pattern =
  /^\s*\d+: (?<text>(?<kind>[A-Z]+)\s+\S+\s+(?<type>READ|WRITE)\s+(?<pid>-?\d+) (?<major>[0-9a-f]+):(?<minor>[0-9a-f]+):(?<ino>\d+) (?<start>\d+) (?<end>\d+|EOF))\s*$/;

/** One line; undefined: it tells of no lock that is held (waiters are marked `->`), or is not of that form. */
export function parseLockLine(line: string): LockLine | undefined {
  const found = pattern.exec(line)?.groups;
  const kind = kinds[found?.['kind'] ?? ''];
  if (found === undefined || kind === undefined) return undefined;
  const pid = Number(found['pid']);
  const end = found['end'];
  return {
    kind,
    type: found['type'] === 'READ' ? 'read' : 'write',
    ...(pid > 0 && kind !== 'OFD' ? { pid } : {}),
    inode: {
      dev: `${Number.parseInt(found['major'] ?? '', 16)}:${Number.parseInt(found['minor'] ?? '', 16)}`,
      ino: found['ino'] ?? '',
    },
    start: Number(found['start']),
    ...(end === 'EOF' ? {} : { end: Number(end) }),
    text: (found['text'] ?? '').replace(/\s+/g, ' '),
  };
}

/**
 * The locks that the kernel has for an inode, whoever took them; undefined: the table cannot be read.
 *
 * Reading it takes 5 to 25 ms however short it is, and slows down whoever locks meanwhile: the kernel waits for all
 * processors first (percpu_down_write in locks_start, fs/locks.c). So read it once, and only where fdinfo cannot tell.
 */
export function readLocksOf(inode: Inode, root = '/proc'): LockLine[] | undefined {
  const text = readProcText(`${root}/locks`, lockTableBytesMax);
  if (text === undefined) return undefined;
  const ino = `:${inode.ino} `;
  return text
    .split('\n')
    .filter((line) => line.includes(ino))
    .map(parseLockLine)
    .filter((lock) => lock !== undefined)
    .filter((lock) => lock.inode.ino === inode.ino && maybeSameDevice(lock.inode.dev, inode.dev));
}

/** Devices with major number 0 are made up: one file system can have several, so they prove no difference. */
export function maybeSameDevice(a: string, b: string): boolean {
  return a === b || (a.startsWith('0:') && b.startsWith('0:'));
}

/** Whether a lock covers any byte from `first` to `last`. A flock(2) or a lease covers none: it has no bytes. */
export function covers(lock: LockLine, first: number, last: number): boolean {
  if (lock.kind === 'FLOCK' || lock.kind === 'LEASE') return false;
  return lock.start <= last && (lock.end === undefined || lock.end >= first);
}
