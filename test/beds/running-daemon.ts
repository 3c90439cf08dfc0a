/** A private holdfastd: its keeper, its daemon, and its sockets, in a folder of the test's. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ApiClient } from './api-client.js';
import { start, type Running } from './command.js';
import { holdfastdCommand } from './holdfastd.js';
import { isAlive } from './lockd.js';
import { until } from './until.js';

interface LogLine {
  readonly msg: string;
  readonly pid: number;
  readonly [fact: string]: unknown;
}

export interface DaemonOptions {
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Starts it under another program. */
  readonly before?: readonly string[];
}

export class RunningDaemon {
  readonly keeper: Running;
  readonly apiSocket: string;
  readonly lockdSocket: string;
  readonly api: ApiClient;

  private constructor(folder: string, { args = [], env = {}, before = [] }: DaemonOptions) {
    const sockets = join(folder, 'sockets');
    mkdirSync(sockets, { recursive: true, mode: 0o700 });
    this.apiSocket = join(sockets, 'api.sock');
    this.lockdSocket = join(sockets, 'virtlockd-sock');
    this.api = new ApiClient(this.apiSocket);
    const [program = '', ...words] = [...before, ...holdfastdCommand, '--socket-dir', sockets, ...args];
    this.keeper = start(program, words, { env });
  }

  /** Starts one and waits until its API answers. */
  static async start(folder: string, options: DaemonOptions = {}): Promise<RunningDaemon> {
    const daemon = new RunningDaemon(folder, options);
    await daemon.served(1);
    return daemon;
  }

  get lines(): readonly LogLine[] {
    return this.keeper.stderr
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as LogLine);
  }

  /** The daemons that have begun to serve, one after another. */
  get pids(): readonly number[] {
    return this.lines.filter(({ msg }) => msg === 'serving the API').map(({ pid }) => pid);
  }

  get pid(): number {
    return this.pids.at(-1) ?? 0;
  }

  async served(times: number): Promise<void> {
    await until(
      () => this.pids.length >= times || this.keeper.child.exitCode !== null,
      () => `the daemon to serve: ${this.keeper.stderr}`,
    );
    if (this.pids.length < times) throw new Error(`holdfastd ended: ${this.keeper.stderr}`);
  }

  /** Kills the daemon, and waits until the next one serves. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const times = this.pids.length;
    process.kill(this.pid, signal);
    await this.served(times + 1);
  }

  /** Ends keeper and daemon at once, and waits until both are gone. */
  async killBoth(): Promise<void> {
    const { pid } = this;
    // Neither is to start the other one again.
    process.kill(pid, 'SIGSTOP');
    process.kill(this.keeper.pid, 'SIGKILL');
    process.kill(pid, 'SIGKILL');
    await this.keeper.exited;
    await until(() => !isAlive(pid), 'the end of the daemon');
  }

  /** As a service manager ends it; gives the exit status. */
  async stop(): Promise<number> {
    if (this.keeper.child.exitCode === null) process.kill(this.keeper.pid, 'SIGTERM');
    return this.keeper.exited;
  }
}
