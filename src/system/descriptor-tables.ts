/**
 * The tables of descriptors that a process has besides its main thread's. Threads share one unless somebody wants it
 * otherwise (unshare(2), clone(2) without CLONE_FILES); and a process lives on when its main thread has ended, whose
 * own folder /proc/PID/fd is empty then.
 */
import { readdirSync } from 'node:fs';
import { libcFunction } from './libc.js';
import { parsePids } from './process.js';
import { linkCount, noFolder, ownerId, statQuietly } from './statx.js';

const KCMP_FILES = 2;
/** asm/unistd.h; elsewhere each thread counts as one with a table of its own, which costs time and nothing else. */
const SYS_kcmp = { x64: 312, arm64: 272, riscv64: 272, loong64: 272 }[process.arch as string];

const syscall = libcFunction<[number: number, one: number, two: number, type: number, a: number, b: number]>(
  'long syscall(long number, long one, long two, long type, ulong a, ulong b)',
);

/** One thread for each table that the main thread has not got. */
export function threadsWithTables(root: string, pid: number): number[] {
  // A folder has a link for itself, one for its name, and one for each folder in it: here the threads.
  if (statQuietly(noFolder, `${root}/${pid}/task`) !== 0 || linkCount() <= 3) return [];
  let threads: number[];
  try {
    threads = parsePids(readdirSync(`${root}/${pid}/task`));
  } catch {
    return []; // It has ended.
  }
  const found: number[] = [];
  for (const thread of threads) {
    if (thread !== pid && ![pid, ...found].some((other) => isSameTable(root, other, thread))) {
      found.push(thread);
    }
  }
  return found;
}

/** False where it cannot be told: then both are looked at. */
function isSameTable(root: string, one: number, other: number): boolean {
  return root === '/proc' && SYS_kcmp !== undefined && syscall(SYS_kcmp, one, other, KCMP_FILES, 0, 0) === 0;
}

/**
 * Whether a process is this user's. Its folder stays so when the main thread has ended, unlike the folder `fd` of that,
 * which is root's from then on.
 */
export function isOwn(root: string, pid: number): boolean {
  return statQuietly(noFolder, `${root}/${pid}`) === 0 && ownerId() === process.geteuid?.();
}
