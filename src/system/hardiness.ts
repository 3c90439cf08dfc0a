/**
 * What keeps a process going where others are slowed down or ended: for one that has to act in time whatever happens on the
 * host. Each is done where this user may, and left alone where not. None of it goes on to children.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { chdir } from 'node:process';
import { libcFunction } from './libc.js';

const SCHED_RR = 2;
const SCHED_RESET_ON_FORK = 0x4000_0000;
/** sched(7): the lowest of those that come before every ordinary process. */
const realTimePriority = 1;
/** Where no real-time priority may be had. */
const niceness = -20;
/** proc(5), /proc/PID/oom_score_adj: never chosen when memory runs out. */
const neverChosen = '-1000';

const setScheduler = libcFunction<[pid: number, policy: number, parameter: Buffer]>(
  'int sched_setscheduler(int pid, int policy, const void *parameter)',
);
const setsid = libcFunction<[]>('int setsid()');
const mlock = libcFunction<[address: bigint, length: bigint]>('int mlock(uint64_t address, size_t length)');

/**
 * Leaves the group that the terminal and `kill -GROUP` reach, and the session too: a parent in another group of the same
 * session connects its children's group with that session, and when the last such child ends, the kernel hangs up the group and
 * lets go on what is stopped there (setpgid(2), orphaned process groups).
 */
export function ownSession(): void {
  setsid();
}

/** Runs before ordinary processes, is not chosen when memory runs out, and keeps no folder busy. */
export function raiseAboveOthers(): void {
  // `struct sched_param`: i32 priority. The flag: what it starts is ordinary again.
  const parameter = Buffer.alloc(4);
  parameter.writeInt32LE(realTimePriority);
  if (setScheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, parameter) === -1) attempt(() => setPriority(niceness));
  attempt(() => writeFileSync('/proc/self/oom_score_adj', neverChosen));
  attempt(() => chdir('/'));
}

/**
 * Keeps the program's own text in memory (mlock(2)), so that it runs on when the disk that it came from does not answer. Only
 * what is mapped from files: V8 takes parts of its heap back with madvise(2), which fails on locked memory and ends it.
 */
export function keepProgramInMemory(): void {
  attempt(() => {
    for (const line of readFileSync('/proc/self/maps', 'latin1').split('\n')) {
      const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]\d* /.exec(line) ?? [];
      if (from === undefined || to === undefined) continue;
      const start = BigInt(`0x${from}`);
      mlock(start, BigInt(`0x${to}`) - start);
    }
  });
}

function attempt(step: () => void): void {
  try {
    step();
  } catch {
    // This user may not.
  }
}
