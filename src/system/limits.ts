/** RLIMIT_NOFILE (getrlimit(2)): Node raises the soft limit to the hard one at its start. */
import { readdirSync } from 'node:fs';
import { libcFunction, systemError } from './libc.js';

const RLIMIT_NOFILE = 7;
const RLIM_INFINITY = 0xffff_ffff_ffff_ffffn;

/** A start needs a pipe and a few more. */
const spareDescriptors = 32;

/** `struct rlimit`: u64 soft, u64 hard. */
const rlimitBytes = 16;

const getrlimit = libcFunction<[resource: number, limit: Buffer]>('int getrlimit(int resource, void *limit)');
const setrlimit = libcFunction<[resource: number, limit: Buffer]>(
  'int setrlimit(int resource, const void *limit)',
);

/**
 * Does `work`, which starts a process, under another soft limit. Not if that is below what this process itself has
 * open or needs for the start: a program that is started with too high a limit is better off than one that is not.
 */
export function withOpenFilesSoft<Result>(soft: number | undefined, work: () => Result): Result {
  const before = Buffer.alloc(rlimitBytes);
  if (getrlimit(RLIMIT_NOFILE, before) === -1) throw systemError('getrlimit');
  const open = readdirSync('/proc/self/fd').map(Number);
  if (soft !== undefined && soft < Math.max(...open) + spareDescriptors) return work();
  setOpenFilesSoft(soft);
  try {
    return work();
  } finally {
    setrlimit(RLIMIT_NOFILE, before);
  }
}

/** How many descriptors this process may have at most. */
export function openFilesHard(): number {
  const limit = Buffer.alloc(rlimitBytes);
  if (getrlimit(RLIMIT_NOFILE, limit) === -1) throw systemError('getrlimit');
  const hard = limit.readBigUInt64LE(8);
  return hard > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(hard);
}

/** Sets the soft limit; undefined is unlimited. It is never set above the hard limit. */
export function setOpenFilesSoft(soft: number | undefined): void {
  const limit = Buffer.alloc(rlimitBytes);
  if (getrlimit(RLIMIT_NOFILE, limit) === -1) throw systemError('getrlimit');
  const hard = limit.readBigUInt64LE(8);
  const wanted = soft === undefined ? RLIM_INFINITY : BigInt(soft);
  limit.writeBigUInt64LE(wanted < hard ? wanted : hard, 0);
  if (setrlimit(RLIMIT_NOFILE, limit) === -1) throw systemError('setrlimit');
}
