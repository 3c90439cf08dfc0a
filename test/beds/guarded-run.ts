/** `holdfast run` under the driver of `renewing-driver.mjs`, and what an outsider sees of it. */
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { boottimeMs } from '../../src/system/boot-clock.js';
import { descendantsOf, type Descendant } from '../../src/system/descendants.js';
import { readProcessStat } from '../../src/system/process.js';
import { holdfast, start, type Running } from './command.js';
import { until } from './until.js';

/** Loss is declared after a half of it, the kill after three quarters. */
export const ttlMs = 3_000;

export interface GuardedRuns {
  /** The command line of a run. */
  words(options: readonly string[], command: readonly string[]): readonly string[];
  run(options: readonly string[], command: readonly string[]): Running;
  /** From now on nothing is renewed, or again. */
  stopRenewals(stopped: boolean): void;
  /** The present grants are lost at once. */
  lose(): void;
  /** Lets somebody else have had the lock, when the present holder's time is over. */
  usurp(): void;
  /** CLOCK_BOOTTIME: from when on somebody else may have the lock, as of the last renewal. */
  readonly endMs: () => number;
  /** Forgets all locks. */
  clear(): void;
}

export function guardedRuns(folder: string, disk: string): GuardedRuns {
  const leases = join(folder, 'leases');
  const drivers = join(folder, 'drivers');
  mkdirSync(drivers);
  mkdirSync(leases);
  const module = fileURLToPath(new URL('./renewing-driver.mjs', import.meta.url));
  copyFileSync(module, join(drivers, 'renewing.mjs'));
  process.env['HOLDFAST_DRIVER_PATH'] = drivers;
  const configuration = join(folder, 'holdfast.toml');
  writeFileSync(configuration, `[driver.renewing]\nfolder = ${JSON.stringify(leases)}\nttl = ${ttlMs}\n`);
  const leaseFile = (): string =>
    join(leases, readdirSync(leases).find((name) => /^[0-9a-f]{40}$/.test(name)) ?? 'none');
  const lease = (): { id: string; until: number } =>
    JSON.parse(readFileSync(leaseFile(), 'utf8')) as { id: string; until: number };
  const words = (options: readonly string[], command: readonly string[]): readonly string[] => [
    ...[holdfast, 'run', '--config', configuration, '--driver', 'renewing', '--disk', disk],
    ...options,
    '--',
    ...command,
  ];
  return {
    words,
    run: (options, command) => start(holdfast, words(options, command).slice(1)),
    stopRenewals: (stopped) => {
      if (stopped) writeFileSync(join(leases, 'stop'), '');
      else rmSync(join(leases, 'stop'), { force: true });
    },
    lose: () => writeFileSync(join(leases, 'lose'), ''),
    usurp: () => writeFileSync(leaseFile(), JSON.stringify({ ...lease(), id: 'somebody else' })),
    endMs: () => lease().until,
    clear: () => {
      rmSync(leases, { recursive: true });
      mkdirSync(leases);
    },
  };
}

/** Who belongs to a run, but the supervisor. */
export interface RunProcesses {
  readonly guard: Descendant;
  readonly command: Descendant;
  /** The command and all that it has started. */
  readonly below: readonly Descendant[];
}

/** Until there are as many below the guard, so that nobody is missed. */
export async function processesOf({ pid }: Pick<Running, 'pid'>, count: number): Promise<RunProcesses> {
  let found: RunProcesses | undefined;
  await until(() => {
    const guard = descendantsOf(pid).find(({ ppid }) => ppid === pid);
    const below = guard === undefined ? [] : descendantsOf(guard.pid);
    const command = below.find(({ ppid }) => ppid === guard?.pid);
    if (guard === undefined || command === undefined || below.length < count) return false;
    found = { guard, command, below };
    return true;
  }, `${count} processes below the guard of ${pid}`);
  if (found === undefined) throw new Error('there are none');
  return found;
}

/** Whether it runs: a zombie does not, whose parent cannot ask for it. */
export function isAlive({ pid, startTime }: Pick<Descendant, 'pid' | 'startTime'>): boolean {
  const stat = readProcessStat(pid);
  return stat?.startTime === startTime && !(stat.state === 'Z' && stat.threads <= 1);
}

export function isStopped({ pid }: Pick<Descendant, 'pid'>): boolean {
  // D: a shell that has started something is not through with vfork(2) while that is stopped.
  return ['T', 'D', 'Z'].includes(readProcessStat(pid)?.state ?? '');
}

/** Waits for the end of all of them; gives how long before `endMs` the last was gone, in ms. */
export async function goneBefore(
  processes: readonly Descendant[],
  endMs: () => number,
): Promise<{ readonly marginMs: number }> {
  await until(() => !processes.some(isAlive), 'their end');
  const at = boottimeMs();
  return { marginMs: endMs() - at };
}
