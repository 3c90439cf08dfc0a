/**
 * A host of a cluster as far as holdfastd can tell: with a machine-id, a name and folders of its own, on one etcd with the others.
 * Needs root.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomHex } from '../../src/system/random.js';
import { holdfastdCommand } from './holdfastd.js';
import { isAlive } from './lockd.js';
import { until } from './until.js';

export interface ClusterHost {
  readonly name: string;
  /** Of libvirt's protocol. */
  readonly socket: string;
  /** Its lockspaces stand here. */
  readonly folder: string;
  readonly keeperPid: number;
  /** Each line of the log, as data. */
  log(): readonly Readonly<Record<string, unknown>>[];
  daemonPid(): number;
  /** Of the guard that was started last. */
  guardPid(): number | undefined;
  /** Ends the daemon without any goodbye; its keeper starts the next one. Returns when that one serves. */
  killDaemon(): Promise<void>;
  killBoth(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface ClusterHostOptions {
  readonly endpoints: readonly string[];
  readonly ttl?: number;
  readonly daemon?: string;
  readonly reserve?: string;
}

const script = 'hostname "$1" && mount --bind "$2" /etc/machine-id && shift 2 && exec "$@"';

export async function startClusterHost(
  parent: string,
  name: string,
  { endpoints, ttl = 10, daemon = '', reserve = '5s' }: ClusterHostOptions,
): Promise<ClusterHost> {
  const folder = join(parent, name);
  mkdirSync(join(folder, 'run'), { recursive: true, mode: 0o700 });
  const at = (file: string): string => join(folder, file);
  writeFileSync(at('machine-id'), `${randomHex(16)}\n`);
  const driver = `[driver.etcd]\nendpoints = ${JSON.stringify(endpoints)}\nttl = ${ttl}\nreserve = "${reserve}"\n`;
  writeFileSync(at('holdfast.toml'), `[daemon]\n${daemon}\n${driver}`, { mode: 0o600 });
  const words = [
    ...holdfastdCommand,
    ...['--config', at('holdfast.toml'), '--driver', 'etcd,fcntl'],
    ...['--socket-dir', at('run'), '--log-level', 'debug'],
  ];
  let keeper: ReturnType<typeof spawn> | undefined;
  let text = '';
  const lines = (): Record<string, unknown>[] =>
    text
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  const serving = (): Record<string, unknown>[] => lines().filter(({ msg }) => msg === 'serving the API');
  const daemonPid = (): number => Number(serving().at(-1)?.['pid'] ?? 0);
  const serves = (times: number): Promise<void> =>
    until(
      () => serving().length >= times,
      () => `${name} to serve; it says:\n${text}`,
    );
  const start = async (): Promise<void> => {
    const before = serving().length;
    keeper = spawn('unshare', ['-m', '-u', 'sh', '-c', script, 'sh', name, at('machine-id'), ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, HOLDFAST_RUNTIME_DIR: at('run') },
    });
    const read = (part: Buffer): void => void (text += part.toString());
    keeper.stdout?.on('data', read);
    keeper.stderr?.on('data', read);
    await serves(before + 1);
  };
  const finish = async (signal: NodeJS.Signals): Promise<void> => {
    if (keeper === undefined || keeper.exitCode !== null || keeper.signalCode !== null) return;
    const gone = once(keeper, 'exit');
    keeper.kill(signal);
    await gone;
  };
  await start();
  return {
    name,
    folder,
    socket: at('run/virtlockd-sock'),
    get keeperPid() {
      return keeper?.pid ?? 0;
    },
    log: lines,
    daemonPid,
    guardPid() {
      try {
        const guards = JSON.parse(readFileSync(at('run/cluster-guards.json'), 'utf8')) as { pid: number }[];
        return guards.at(-1)?.pid;
      } catch {
        return undefined;
      }
    },
    async killDaemon() {
      const before = serving().length;
      process.kill(daemonPid(), 'SIGKILL');
      await serves(before + 1);
    },
    async killBoth() {
      const daemon = daemonPid();
      // Neither is to start the other one again.
      process.kill(daemon, 'SIGSTOP');
      await finish('SIGKILL');
      process.kill(daemon, 'SIGKILL');
      await until(() => !isAlive(daemon), 'the end of the daemon');
    },
    start,
    stop: () => finish('SIGTERM'),
  };
}
