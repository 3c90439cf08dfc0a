/**
 * What /proc says of a process. Everything there is chosen by the process or gone in the next moment, so nothing
 * here throws: what cannot be read is undefined.
 */
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { nameText } from './name-text.js';
import { readProcBytes, readProcText } from './proc-file.js';
import { userName } from './user-name.js';

/** proc_pid_stat(5) counts start times in these for every architecture Node runs on. */
export const clockTicksPerSecond = 100;
/** A comm has 15 characters and the other 51 fields are numbers. */
const statBytesMax = 4096;
/** libvirt's QEMU command lines are 10 to 60 KiB; the kernel allows 6 MiB, and nobody needs those. */
const commandLineBytesMax = 256 * 1024;
/** `btime` stands behind the interrupt counters, whose line grows with cores and devices. */
const systemStatBytesMax = 1024 * 1024;

export interface ProcessStat {
  /** The kernel's short name: at most 15 bytes, chosen by the process; may hold `)`, spaces and newlines. */
  readonly comm: string;
  /** One letter: R, S, D, Z, T ... */
  readonly state: string;
  readonly ppid: number;
  /** One of the kernel's own: it has no program, no arguments and no descriptors. */
  readonly kernelThread: boolean;
  /** How many threads it has: one of a process whose only thread has ended. */
  readonly threads: number;
  /** Clock ticks after boot (field 22): with the pid it names a process for good. */
  readonly startTime: number;
}

/** Where the first thread alone has ended, the others run on: the state is Z, and they are counted (proc_pid_stat(5), num_threads). */
export function allThreadsEnded({ state, threads }: Pick<ProcessStat, 'state' | 'threads'>): boolean {
  return state === 'Z' && threads <= 1;
}

export interface ProcessInfo extends ProcessStat {
  readonly pid: number;
  /** The program file's name, where it can be seen; `(deleted)` is cut off. */
  readonly exe?: string;
  /** Empty for kernel threads and zombies. */
  readonly argv: readonly string[];
  /** The effective user. */
  readonly uid?: number;
  /** That user's name, or number as text. */
  readonly user?: string;
  /** When it started: ISO 8601, to the second, UTC. */
  readonly since?: string;
}

export interface ProcOptions {
  /** Where procfs is mounted, or a recorded tree of one. */
  readonly root?: string;
}

/** /proc/PID/stat. The name stands in parentheses and may hold any of them, so the *last* `)` ends it. */
export function parseProcessStat(text: string): ProcessStat | undefined {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open === -1 || close < open) return undefined;
  const fields = text
    .slice(close + 1)
    .trim()
    .split(/\s+/);
  const [state, ppidText, , , , , flagsText] = fields;
  // Fields 20 and 22 of the whole line; the state, field 3, is the first of these.
  const threadsText = fields[20 - 3];
  const startText = fields[22 - 3];
  if (state === undefined || ppidText === undefined || startText === undefined) return undefined;
  // proc_pid_stat(5), field 9: PF_KTHREAD of the kernel's sched.h.
  const kernelThread = /^\d+$/.test(flagsText ?? '') && (Number(flagsText) & 0x0020_0000) !== 0;
  if (!/^[A-Za-z]$/.test(state) || !/^\d+$/.test(ppidText) || !/^\d+$/.test(startText)) return undefined;
  return {
    comm: text.slice(open + 1, close),
    state,
    ppid: Number(ppidText),
    kernelThread,
    threads: /^\d+$/.test(threadsText ?? '') ? Number(threadsText) : 1,
    startTime: Number(startText),
  };
}

/** /proc/PID/cmdline: arguments that end with a NUL; a process that wrote over them may have left none. */
export function parseCommandLine(bytes: Buffer): string[] {
  if (bytes.length === 0) return [];
  const text = nameText(bytes);
  return (text.endsWith('\0') ? text.slice(0, -1) : text).split('\0');
}

/** /proc/PID/stat of a process, or undefined: it is gone, or hidden. */
export function readProcessStat(pid: number, options: ProcOptions = {}): ProcessStat | undefined {
  const bytes = readProcBytes(`${options.root ?? '/proc'}/${pid}/stat`, statBytesMax);
  return bytes === undefined ? undefined : parseProcessStat(nameText(bytes));
}

/** Everything about a process, or undefined: it is gone, or hidden. */
export function readProcess(pid: number, options: ProcOptions = {}): ProcessInfo | undefined {
  const root = options.root ?? '/proc';
  const stat = readProcessStat(pid, { root });
  if (stat === undefined) return undefined;
  const exe = readExecutable(`${root}/${pid}`);
  const uid = parseEffectiveUid(readProcText(`${root}/${pid}/status`, statBytesMax) ?? '');
  const bootSeconds = parseBootTime(readProcText(`${root}/stat`, systemStatBytesMax) ?? '');
  const argv = parseCommandLine(
    readProcBytes(`${root}/${pid}/cmdline`, commandLineBytesMax) ?? Buffer.alloc(0),
  );
  // Between two of these reads the pid may have become another process: then none of it belongs together.
  if (readProcessStat(pid, { root })?.startTime !== stat.startTime) return undefined;
  return {
    pid,
    ...stat,
    argv,
    ...(exe === undefined ? {} : { exe }),
    ...(uid === undefined ? {} : { uid, user: userName(uid) }),
    ...(bootSeconds === undefined ? {} : { since: startDate(bootSeconds, stat.startTime) }),
  };
}

/** Field 22 of /proc/PID/stat, or undefined: there is no such process. This process's own is read once. */
export function processStartTime(pid: number): number | undefined {
  if (pid !== process.pid) return readProcessStat(pid)?.startTime;
  ownStartTime ??= readProcessStat(pid)?.startTime;
  return ownStartTime;
}

let ownStartTime: number | undefined;

/** The pids of a procfs, in its order. */
export function parsePids(names: readonly string[]): number[] {
  return names.filter((name) => /^[1-9]\d*$/.test(name)).map(Number);
}

/** The processes that a procfs shows now, in its order; none where it is not mounted. */
export function listPids(root = '/proc'): number[] {
  try {
    return parsePids(readdirSync(root));
  } catch {
    return [];
  }
}

function readExecutable(folder: string): string | undefined {
  try {
    const bytes = readlinkSync(`${folder}/exe`, { encoding: 'buffer' });
    const name = nameText(bytes.subarray(bytes.lastIndexOf('/') + 1));
    return isDeleted(bytes, folder) ? name.slice(0, -deletedMark.length) : name;
  } catch {
    return undefined; // A kernel thread has none; another user's is not shown.
  }
}

/** The kernel puts it behind the path of a deleted file; a file can also be called so. */
const deletedMark = ' (deleted)';

function isDeleted(path: Buffer, folder: string): boolean {
  if (!path.subarray(-deletedMark.length).equals(Buffer.from(deletedMark))) return false;
  try {
    // As the process sees it: it may have another root.
    const named = statSync(Buffer.concat([Buffer.from(`${folder}/root`), path]), { bigint: true });
    const program = statSync(`${folder}/exe`, { bigint: true });
    return named.dev !== program.dev || named.ino !== program.ino;
  } catch {
    return true;
  }
}

function parseEffectiveUid(status: string): number | undefined {
  const match = /^Uid:\s+\d+\s+(\d+)/m.exec(status);
  return match === null ? undefined : Number(match[1]);
}

function parseBootTime(systemStat: string): number | undefined {
  const match = /^btime (\d+)$/m.exec(systemStat);
  return match === null ? undefined : Number(match[1]);
}

function startDate(bootSeconds: number, startTime: number): string {
  const seconds = Math.floor(bootSeconds + startTime / clockTicksPerSecond);
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}
