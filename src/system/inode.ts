/**
 * Inodes as this host names them. Always from bigint stats: GlusterFS's inode numbers are above 2^53, and half of
 * them above 2^63, where Node's bigint stats are negative.
 */
import type { BigIntStats } from 'node:fs';
import type { Inode } from '../vocabulary.js';

/** A device number as `major:minor` in decimal (glibc's gnu_dev_major and gnu_dev_minor). */
export function deviceName(dev: bigint): string {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  return `${major}:${minor}`;
}

export function inodeOf({ dev, ino }: Pick<BigIntStats, 'dev' | 'ino'>): Inode {
  return { dev: deviceName(dev), ino: BigInt.asUintN(64, ino).toString() };
}

export function sameInode(a: Inode, b: Inode): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}
