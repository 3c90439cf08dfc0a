/** How the kernel gives a process its turns: field 41 of proc_pid_stat(5), by the numbers of sched(7). */
import { readFileSync } from 'node:fs';

const policies = ['other', 'fifo', 'rr', 'batch', 'iso', 'idle', 'deadline'] as const;

export function policyOf(pid: number): (typeof policies)[number] | undefined {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The name in brackets, field 2, can contain anything; what follows begins with field 3.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return policies[Number(fields[41 - 3])];
}
