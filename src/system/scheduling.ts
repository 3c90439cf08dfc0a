/** How the kernel gives this process its turns (sched(7)). */
import { libcFunction } from './libc.js';

const SCHED_OTHER = 0;
const SCHED_BATCH = 3;

const getScheduler = libcFunction<[pid: number]>('int sched_getscheduler(int pid)');
const setScheduler = libcFunction<[pid: number, policy: number, parameter: Buffer]>(
  'int sched_setscheduler(int pid, int policy, const void *parameter)',
);

/**
 * As a batch process this one never takes a processor from who has it when it wakes up; its share is the same. No right is
 * needed either way. What it starts inherits it. One that has a policy of its own, such as a real-time one, keeps it.
 */
export function beBatch(batch: boolean): void {
  const [from, to] = batch ? [SCHED_OTHER, SCHED_BATCH] : [SCHED_BATCH, SCHED_OTHER];
  // `struct sched_param`: i32 priority, which is 0 for both.
  if (getScheduler(0) === from) setScheduler(0, to, Buffer.alloc(4));
}
