/** What a process has used, from /proc. */
import { readdirSync, readFileSync } from 'node:fs';

/** Processor time of all its threads, in nanoseconds: user and system together, finer than the ticks of `stat` (proc(5), schedstat). */
export function processorTimeNs(pid: number): number {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]);
  }
  return sum;
}

/** Resident memory in KiB: what only this process has, and what of files and of shared memory it has touched. */
export function residentKib(pid: number): number {
  const found = /^VmRSS:\s+(?<kib>\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return Number(found?.groups?.['kib']);
}
