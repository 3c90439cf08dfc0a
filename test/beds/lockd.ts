/**
 * Our server of libvirt's lock protocol as it really runs: a keeper and its daemon, in processes of their own, compiled as
 * for a release so that they start as fast.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { buildPrograms } from './build-programs.js';
import { endMarkedProcesses } from './marked-processes.js';
import { until } from './until.js';

export interface LockdLine {
  readonly message: string;
  readonly pid?: number;
  readonly keeper?: number;
  readonly [fact: string]: unknown;
}

export interface Lockd {
  /** Of the keeper that was started. */
  readonly keeperPid: number;
  /** Of the keeper that keeps now, or kept last. */
  currentKeeper(): number;
  /** Of the daemon that serves now, or served last. */
  daemonPid(): number;
  readonly socket: string;
  readonly journal: string;
  /** What keeper and daemons have said. */
  readonly lines: readonly LockdLine[];
  /** Waits until that many daemons have begun to serve. */
  served(times: number): Promise<void>;
  /** Waits until keepers and daemons have said something so often. */
  said(message: string, times?: number): Promise<void>;
  /** Starts a keeper that is to take over. */
  takeOver(more?: Readonly<Record<string, string>>): void;
  /** Ends keeper and daemon at the same moment. */
  killBoth(): void;
  /** Ends all of it, without any goodbye. */
  stop(): void;
}

/** Compiles the programs into a folder; gives it. */
export function buildLockd(folder: string): Promise<string> {
  return buildPrograms(
    folder,
    {
      'lockd-keeper': 'test/beds/lockd-keeper.ts',
      'lockd-daemon': 'test/beds/lockd-daemon.ts',
      'lockd-worker': 'src/daemon/lockd/lockd-worker.ts',
    },
    ['koffi'],
  );
}

/**
 * Starts the programs of `buildLockd`; the test has to stop them. `folder` gets the socket and the journal. `before`: what
 * the keeper is started with.
 */
export async function startLockd(
  programs: string,
  folder: string,
  before: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Promise<Lockd> {
  const socket = join(folder, 'lockd-sock');
  const journal = join(folder, 'lockd.journal');
  const program = [process.execPath, join(programs, 'lockd-keeper.js'), socket];
  const lines: LockdLine[] = [];
  const start = (command: readonly string[], more: Readonly<Record<string, string>> = {}): ChildProcess => {
    const keeper = spawn(command[0] ?? '', command.slice(1), {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, LOCKD_JOURNAL: journal, ...environment, ...more },
    });
    createInterface({ input: keeper.stdout }).on('line', (line) => {
      lines.push(JSON.parse(line) as LockdLine);
    });
    return keeper;
  };
  const keeper = start([...before, ...program]);
  const all = (message: string): LockdLine[] => lines.filter((line) => line.message === message);
  const daemonPid = (): number => all('serving').at(-1)?.pid ?? 0;
  const currentKeeper = (): number => all('keeping').at(-1)?.keeper ?? 0;
  const said = (message: string, times = 1): Promise<void> =>
    until(
      () => all(message).length >= times,
      () => `'${message}' ${times} times; said: ${lines.map((line) => JSON.stringify(line)).join('\n')}`,
    );
  const killBoth = (): void => {
    // A daemon that stands still starts no other keeper, and a keeper that has ended no other daemon.
    signal(daemonPid(), 'SIGSTOP');
    signal(currentKeeper(), 'SIGKILL');
    signal(daemonPid(), 'SIGKILL');
  };
  const lockd: Lockd = {
    keeperPid: keeper.pid ?? 0,
    currentKeeper,
    daemonPid,
    socket,
    journal,
    lines,
    said,
    served: (times) => said('serving', times),
    takeOver: (more) => void start([...program, '--take-over'], more),
    killBoth,
    stop: () => endMarkedProcesses(`LOCKD_JOURNAL=${journal}`),
  };
  await lockd.served(1).catch((error: unknown) => {
    lockd.stop();
    throw error;
  });
  return lockd;
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    if (pid > 0) process.kill(pid, name);
  } catch {
    // It has ended.
  }
}

/** Whether a process runs: one that has ended and was not waited for does not. */
export function isAlive(pid: number): boolean {
  try {
    return pid > 0 && !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}
