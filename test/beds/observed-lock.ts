/** What an outsider sees of a disk's locks: asked of the kernel directly, not of Holdfast. */
import { closeSync, constants, openSync, statSync } from 'node:fs';
import { inodeOf } from '../../src/system/inode.js';
import { readLocksOf } from '../../src/system/lock-lines.js';
import { testLock } from '../../src/system/ofd-lock.js';
import { until } from './until.js';

/** How byte 0 of a file is locked at this moment. */
export function lockOn(path: string): 'write' | 'read' | 'none' {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return testLock(fd, 'write', 0)?.type ?? 'none';
  } finally {
    closeSync(fd);
  }
}

/** Every byte of a file that is locked by anyone, as the kernel's table has it. */
export function lockedBytes(path: string): number[] {
  const lines = readLocksOf(inodeOf(statSync(path, { bigint: true }))) ?? [];
  const bytes = lines
    .filter(({ kind }) => kind !== 'LEASE')
    .flatMap(({ start, end = start }) =>
      Array.from({ length: end - start + 1 }, (_, index) => start + index),
    );
  return [...new Set(bytes)].toSorted((a, b) => a - b);
}

export function untilFree(path: string): Promise<void> {
  return until(() => lockOn(path) === 'none', `${path} to be free`);
}
