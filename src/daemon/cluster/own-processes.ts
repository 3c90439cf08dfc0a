/** The processes that lock for others: this daemon, and its keeper. Nobody's loss ends them. */
import type { NamedProcess } from '../../guard/guard-words.js';
import { processStartTime } from '../../system/process.js';

/** Whatever this process was started by: a daemon whose keeper has ended can have any parent, and stops none of them. */
export function ownProcesses(): readonly NamedProcess[] {
  return [process.pid, process.ppid].flatMap((pid) => {
    const startTime = processStartTime(pid);
    return startTime === undefined ? [] : [{ pid, startTime }];
  });
}
