/** Which processes a look through /proc could not look into, in words. */
import type { OpenFiles } from '../system/open-files.js';
import { readProcessStat } from '../system/process.js';

/** Undefined: none. Threads of the kernel have nothing open, nor has a process that ended and waits for its parent. */
export function unseenProcesses(
  { denied, hidden }: Pick<OpenFiles<unknown>, 'denied' | 'hidden'>,
  root = '/proc',
): string | undefined {
  const hint = process.geteuid?.() === 0 ? '' : ' (look as root)';
  if (hidden) return `the processes of other users, which this host hides${hint}`;
  const programs = denied.filter((pid) => {
    const stat = readProcessStat(pid, { root });
    return stat?.kernelThread === false && !(stat.state === 'Z' && stat.threads === 1);
  });
  if (programs.length === 0) return undefined;
  return programs.length === 1
    ? `what process ${programs[0]} has open, which cannot be looked into${hint}`
    : `what ${programs.length} processes have open, which cannot be looked into${hint}`;
}
