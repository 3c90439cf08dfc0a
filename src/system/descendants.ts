/**
 * All processes below this one, and their end. A subreaper (prctl(2), PR_SET_CHILD_SUBREAPER) inherits the
 * orphans among its descendants, so setsid and double forks do not take a process out of its sight.
 */
import { readdirSync } from 'node:fs';
import { libcFunction, systemError } from './libc.js';
import { parsePids, readProcessStat } from './process.js';

const PR_SET_CHILD_SUBREAPER = 36;
const WNOHANG = 1;

const prctl = libcFunction<[option: number, value: number, a: number, b: number, c: number]>(
  'int prctl(int option, unsigned long value, unsigned long a, unsigned long b, unsigned long c)',
);
const waitpid = libcFunction<[pid: number, status: null, options: number]>(
  'int waitpid(int pid, void *status, int options)',
);

/** Makes this process the one that orphans below it fall to. */
export function becomeSubreaper(): void {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) === -1) throw systemError('prctl');
}

export interface Descendant {
  readonly pid: number;
  readonly ppid: number;
  readonly startTime: number;
  /** `Z`: it has ended and waits for its parent to ask; `T`: stopped. */
  readonly state: string;
}

/** Every process below `root`, zombies included. Those that are born meanwhile are seen at the next call. */
export function descendantsOf(root: number): readonly Descendant[] {
  const children = new Map<number, Descendant[]>();
  for (const pid of parsePids(readdirSync('/proc'))) {
    const stat = readProcessStat(pid);
    if (stat === undefined) continue;
    const { ppid, startTime, state } = stat;
    children.set(ppid, [...(children.get(ppid) ?? []), { pid, ppid, startTime, state }]);
  }
  const found: Descendant[] = [];
  for (let level = children.get(root) ?? []; level.length > 0;) {
    found.push(...level);
    level = level.flatMap(({ pid }) => children.get(pid) ?? []);
  }
  return found;
}

/** Takes note of the end of an orphan that fell to this process. Node does that only for those that it started. */
export function reapOrphan(pid: number): void {
  waitpid(pid, null, WNOHANG);
}
