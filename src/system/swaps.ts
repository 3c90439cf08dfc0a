/** What the kernel swaps to: /proc/swaps (proc_swaps(5)). */
import { statSync } from 'node:fs';
import type { Inode } from '../vocabulary.js';
import { deviceName, inodeOf } from './inode.js';
import { readProcText } from './proc-file.js';

export interface Swap {
  /** As the kernel has it, unescaped; ` (deleted)` at its end is part of it. */
  readonly path: string;
  /** Of a swap file. */
  readonly inode?: Inode;
  /** Of a swap partition: `major:minor`. */
  readonly device?: string;
}

/** Far more than the kernel's limit of 32 swap areas needs. */
const swapsBytesMax = 1024 * 1024;

export function readSwaps(proc = '/proc'): Swap[] {
  return parseSwaps(readProcText(`${proc}/swaps`, swapsBytesMax) ?? '').map(lookUp);
}

/** The paths, unescaped. */
export function parseSwaps(text: string): string[] {
  return text
    .split('\n')
    .slice(1)
    .map((line) => /^(\S+)\s+(?:file|partition)\s/.exec(line)?.[1])
    .filter((path) => path !== undefined)
    .map((path) =>
      path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    );
}

function lookUp(path: string): Swap {
  try {
    const stats = statSync(path, { bigint: true });
    return stats.isBlockDevice() ? { path, device: deviceName(stats.rdev) } : { path, inode: inodeOf(stats) };
  } catch {
    return { path }; // Deleted, or in another mount namespace.
  }
}
