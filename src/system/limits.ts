/** RLIMIT_NOFILE (getrlimit(2)): Node raises the soft limit to the hard one at its start. */
import { libcFunction, systemError } from './libc.js';

const RLIMIT_NOFILE = 7;
const RLIM_INFINITY = 0xffff_ffff_ffff_ffffn;

/** `struct rlimit`: u64 soft, u64 hard. */
const rlimitBytes = 16;

const getrlimit = libcFunction<[resource: number, limit: Buffer]>('int getrlimit(int resource, void *limit)');
const setrlimit = libcFunction<[resource: number, limit: Buffer]>(
  'int setrlimit(int resource, const void *limit)',
);

/** Sets the soft limit; undefined is unlimited. It is never set above the hard limit. */
export function setOpenFilesSoft(soft: number | undefined): void {
  const limit = Buffer.alloc(rlimitBytes);
  if (getrlimit(RLIMIT_NOFILE, limit) === -1) throw systemError('getrlimit');
  const hard = limit.readBigUInt64LE(8);
  const wanted = soft === undefined ? RLIM_INFINITY : BigInt(soft);
  limit.writeBigUInt64LE(wanted < hard ? wanted : hard, 0);
  if (setrlimit(RLIMIT_NOFILE, limit) === -1) throw systemError('setrlimit');
}
