/** A lock daemon of the test's own, with its keeper, reached through its API. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DaemonClient } from '../../src/daemon-client/daemon-client.js';
import { holdfastdCommand } from './holdfastd.js';
import { until } from './until.js';

export interface ApiDaemon {
  readonly socket: string;
  readonly lockdSocket: string;
  readonly client: DaemonClient;
  readonly keeperPid: number;
  /** The pid of the daemon that runs now. */
  daemonPid(): Promise<number>;
  /** Ends the daemon without any goodbye; its keeper starts the next one. */
  killDaemon(): Promise<void>;
  /** Ends daemon and keeper without any goodbye. */
  killBoth(): Promise<void>;
  /** An ordinary stop. */
  stop(): Promise<void>;
}

/**
 * Starts one, which the test has to stop; its sockets and all else stand in `folder`, a private one of the test.
 * @param args further words of its command line
 * @param runtimeDirectory one of its own, where another daemon has the test's
 */
export async function startApiDaemon(
  folder: string,
  args: readonly string[] = [],
  runtimeDirectory = process.env['HOLDFAST_RUNTIME_DIR'],
): Promise<ApiDaemon> {
  const runtime = join(folder, 'daemon');
  mkdirSync(runtime, { recursive: true, mode: 0o700 });
  const socket = join(runtime, 'api.sock');
  const lockdSocket = join(runtime, 'virtlockd-sock');
  const [program = '', ...words] = holdfastdCommand;
  const keeper = spawn(program, [...words, '--socket-dir', runtime, '--log-level', 'error', ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, HOLDFAST_RUNTIME_DIR: runtimeDirectory },
  });
  const client = new DaemonClient(socket);
  const ended = (): boolean => keeper.exitCode !== null || keeper.signalCode !== null;
  const finish = async (signal: NodeJS.Signals): Promise<void> => {
    if (ended()) return;
    const gone = once(keeper, 'exit');
    keeper.kill(signal);
    await gone;
  };
  await until(async () => {
    if (ended()) throw new Error(`holdfastd ended at once with status ${keeper.exitCode}`);
    return client.health().then(
      () => true,
      () => false,
    );
  }, `holdfastd to serve ${socket}`);
  const daemonPid = async (): Promise<number> => (await client.health()).pid;
  return {
    socket,
    lockdSocket,
    client,
    keeperPid: keeper.pid ?? 0,
    daemonPid,
    async killDaemon() {
      process.kill(await daemonPid(), 'SIGKILL');
    },
    async killBoth() {
      const daemon = await daemonPid();
      // Neither is to start the other one again.
      process.kill(daemon, 'SIGSTOP');
      await finish('SIGKILL');
      process.kill(daemon, 'SIGKILL');
      await until(() => !isRunning(daemon), 'the end of the daemon');
    },
    stop: () => finish('SIGTERM'),
  };
}

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** The witnesses of holds that are left in a folder. */
export function witnessesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
