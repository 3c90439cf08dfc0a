/**
 * Our server of libvirt's lock protocol as it really runs: a keeper and its daemon, in processes of their own, compiled as
 * for a release so that they start as fast.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { until } from './until.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface LockdLine {
  readonly message: string;
  readonly pid?: number;
  readonly [fact: string]: unknown;
}

export interface Lockd {
  readonly keeperPid: number;
  /** Of the daemon that serves now, or served last. */
  daemonPid(): number;
  readonly socket: string;
  readonly journal: string;
  /** What keeper and daemons have said. */
  readonly lines: readonly LockdLine[];
  /** Waits until that many daemons have begun to serve. */
  served(times: number): Promise<void>;
  /** Ends all of it, without any goodbye. */
  stop(): Promise<void>;
}

/** Compiles the programs into a folder; gives it. */
export async function buildLockd(folder: string): Promise<string> {
  const programs = join(folder, 'programs');
  mkdirSync(programs);
  const build = await rolldown({
    cwd: root,
    platform: 'node',
    input: {
      'lockd-keeper': 'test/beds/lockd-keeper.ts',
      'lockd-daemon': 'test/beds/lockd-daemon.ts',
      'lockd-worker': 'src/daemon/lockd/lockd-worker.ts',
    },
    external: ['koffi'],
  });
  await build.write({ dir: programs, format: 'esm', chunkFileNames: '[name]-[hash].js' });
  await build.close();
  writeFileSync(join(programs, 'package.json'), '{ "type": "module" }\n');
  symlinkSync(join(root, 'node_modules'), join(programs, 'node_modules'));
  return programs;
}

/** Starts the programs of `buildLockd`; the test has to stop them. `folder` gets the socket and the journal. */
export async function startLockd(
  programs: string,
  folder: string,
  before: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Promise<Lockd> {
  const socket = join(folder, 'lockd-sock');
  const journal = join(folder, 'lockd.journal');
  const command = [...before, process.execPath, join(programs, 'lockd-keeper.js'), socket];
  const keeper = spawn(command[0] ?? '', command.slice(1), {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, LOCKD_JOURNAL: journal, ...environment },
  });
  const lines: LockdLine[] = [];
  createInterface({ input: keeper.stdout }).on('line', (line) => lines.push(JSON.parse(line) as LockdLine));
  const serving = (): LockdLine[] => lines.filter(({ message }) => message === 'serving');
  const daemonPid = (): number => serving().at(-1)?.pid ?? 0;
  const served = (times: number): Promise<void> =>
    until(
      () => serving().length >= times,
      () => `daemon ${times} to serve; said: ${JSON.stringify(lines)}`,
    );
  const lockd: Lockd = {
    keeperPid: keeper.pid ?? 0,
    daemonPid,
    socket,
    journal,
    lines,
    served,
    async stop() {
      const gone = keeper.exitCode === null && keeper.signalCode === null ? once(keeper, 'exit') : undefined;
      keeper.kill('SIGKILL');
      await gone;
      try {
        process.kill(daemonPid(), 'SIGKILL');
      } catch {
        // It has ended.
      }
    },
  };
  await served(1).catch(async (error: unknown) => {
    await lockd.stop();
    throw error;
  });
  return lockd;
}
