/**
 * Who may not run without the leases of one connection: the process that has them (the command), whoever inherited the connection, and
 * all that is below these. A pid alone is not believed: the command may have ended, and left the connection to others.
 */
import { belowSpared } from '../guard/below-spared.js';
import type { NamedProcess } from '../guard/guard-words.js';
import { hasEnded } from '../guard/stop-targets.js';
import { descriptorKeepers } from '../system/descriptor-keepers.js';
import { readProcessStat } from '../system/process.js';

export interface LeaseKeepers extends NamedProcess {
  /** What the connection is in /proc/PID/fd: `socket:[INODE]`. */
  readonly link: string;
}

export interface FoundKeeper extends NamedProcess {
  /** As in /proc/PID/stat. */
  readonly state: string;
  readonly threads: number;
}

const init = 1;

/** Finds them again and again, also those whose parents have ended meanwhile. */
export function keeperFinder(keepers: LeaseKeepers): () => readonly FoundKeeper[] {
  let known: readonly FoundKeeper[] = [];
  return () => (known = findKeepers(keepers, known));
}

/** Those that have not ended, `known` ones and what is below these among them. Neither this process nor those above it, sanlock among them. */
function findKeepers(
  { pid, startTime, link }: LeaseKeepers,
  known: readonly NamedProcess[],
): readonly FoundKeeper[] {
  const spared = ownLine();
  // systemd can keep a connection among the descriptors of a service.
  const isSpared = ({ pid: one }: NamedProcess): boolean =>
    one === init || spared.some((own) => own.pid === one);
  const roots = [{ pid, startTime }, ...descriptorKeepers(link), ...known].filter(
    (one) => !isSpared(one) && !hasEnded(one),
  );
  const all = roots.flatMap((root) => [root, ...belowSpared(root.pid, spared)]);
  const found = new Map<number, FoundKeeper>();
  for (const one of all) {
    const stat = readProcessStat(one.pid);
    if (stat === undefined || stat.startTime !== one.startTime || hasEnded(one)) continue;
    const { state, threads } = stat;
    found.set(one.pid, { pid: one.pid, startTime: one.startTime, state, threads });
  }
  return [...found.values()];
}

/** This process and those above it. */
function ownLine(): readonly NamedProcess[] {
  const line: NamedProcess[] = [];
  for (let pid = process.pid; pid > init;) {
    const stat = readProcessStat(pid);
    if (stat === undefined) break;
    line.push({ pid, startTime: stat.startTime });
    pid = stat.ppid;
  }
  return line;
}
