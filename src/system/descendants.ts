/**
 * All processes below this one, and their end. A subreaper (prctl(2), PR_SET_CHILD_SUBREAPER) inherits the
 * orphans among its descendants, so setsid and double forks do not take a process out of its sight.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { errno, libcFunction, systemError } from './libc.js';
import { parsePids, readProcessStat, type ProcessStat } from './process.js';

const PR_SET_CHILD_SUBREAPER = 36;
const P_ALL = 0;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x0100_0000;
const ECHILD = 10;

const prctl = libcFunction<[option: number, value: number, a: number, b: number, c: number]>(
  'int prctl(int option, unsigned long value, unsigned long a, unsigned long b, unsigned long c)',
);
const waitid = libcFunction<[kind: number, id: number, info: Buffer, options: number]>(
  'int waitid(int kind, uint id, void *info, int options)',
);
const waitpid = libcFunction<[pid: number, status: Buffer, options: number]>(
  'int waitpid(int pid, void *status, int options)',
);

/** `siginfo_t` of 64-bit Linux: 128 bytes, the pid at 16. */
const info = Buffer.alloc(128);
/** waitpid(2): the signal in the lowest seven bits, or the status in the eight above the lowest eight. */
const waitStatus = Buffer.alloc(4);

/** Makes this process the one that orphans below it fall to. */
export function becomeSubreaper(): void {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) === -1) throw systemError('prctl');
}

export interface Descendant {
  readonly pid: number;
  readonly ppid: number;
  readonly startTime: number;
  /** `Z`: its first thread has ended, and with one thread it waits for its parent to ask; `T`: stopped. */
  readonly state: string;
  readonly threads: number;
}

/** Every process below `root`, zombies included. Those that are born meanwhile are seen at the next call. */
export function descendantsOf(root: number): readonly Descendant[] {
  const children = new Map<number, Descendant[]>();
  for (const pid of parsePids(readdirSync('/proc'))) {
    const stat = readProcessStat(pid);
    if (stat === undefined) continue;
    const { ppid } = stat;
    children.set(ppid, [...(children.get(ppid) ?? []), descendant(pid, stat)]);
  }
  const found: Descendant[] = [];
  for (let level = children.get(root) ?? []; level.length > 0;) {
    found.push(...level);
    level = level.flatMap(({ pid }) => children.get(pid) ?? []);
  }
  return found;
}

/** The children of this process, from the kernel's own list (proc(5), /proc/PID/task/TID/children); libuv starts all from one thread. */
export function childrenHere(): readonly Descendant[] {
  let text: string;
  try {
    text = readFileSync(`/proc/self/task/${process.pid}/children`, 'latin1');
  } catch {
    return []; // A kernel without CONFIG_PROC_CHILDREN.
  }
  return parsePids(text.split(' ')).flatMap((pid) => {
    const stat = readProcessStat(pid);
    return stat === undefined ? [] : [descendant(pid, stat)];
  });
}

function descendant(pid: number, { ppid, startTime, state, threads }: ProcessStat): Descendant {
  return { pid, ppid, startTime, state, threads };
}

/**
 * Takes note of the ends of children other than `own`: orphans that fell to this process, which nobody else asks for.
 * Node waits for those that it started itself, and would wait for ever if their status were taken away. `heard` gets each
 * with its status as shells have it.
 */
export function reapOrphans(own: number | undefined, heard?: (pid: number, status: number) => void): void {
  for (let ended = endedChild(); ended !== undefined && ended !== own; ended = endedChild()) {
    if (waitpid(ended, waitStatus, WNOHANG) !== ended) continue;
    const status = waitStatus.readInt32LE(0);
    const signal = status & 0x7f;
    heard?.(ended, signal === 0 ? (status >> 8) & 0xff : 128 + signal);
  }
}

/** The pid of a child that has ended and was not asked for yet. */
function endedChild(): number | undefined {
  info.fill(0);
  if (waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) === -1) return undefined;
  const pid = info.readInt32LE(16);
  return pid === 0 ? undefined : pid;
}

/**
 * Whether this process has any child, alive or ended. Of a subreaper that is whether anyone at all is below it: a walk
 * over /proc can miss a process that forks and ends while it is on its way, the kernel's own answer cannot.
 */
export function hasChildren(): boolean {
  return waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) !== -1 || errno() !== ECHILD;
}
