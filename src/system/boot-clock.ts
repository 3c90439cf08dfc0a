/**
 * The clock that goes on while the host is suspended (CLOCK_BOOTTIME, clock_gettime(2)): what another host counts meanwhile
 * has to be counted here too. `monotonicMs` stands still then.
 */
import { libcFunction, systemError } from './libc.js';

const CLOCK_BOOTTIME = 7;
/** `struct timespec` on 64-bit systems: two 64-bit numbers. */
const timespec = Buffer.alloc(16);
const clockGettime = libcFunction<[clock: number, time: Buffer]>('int clock_gettime(int clock, void *time)');

/** Milliseconds since the host was booted, with fractions. */
export function boottimeMs(): number {
  if (clockGettime(CLOCK_BOOTTIME, timespec) !== 0) throw systemError('clock_gettime');
  return Number(timespec.readBigInt64LE(0)) * 1000 + Number(timespec.readBigInt64LE(8)) / 1e6;
}
