/**
 * Real sanlock daemons of the test's own, without a watchdog. Each is a host to the others: it has its own run directory, and
 * joins a lockspace in a shared file with its own host id.
 *
 * The I/O timeout is 1 s, so that joining takes 3 s; a host counts as dead 8 of them and 60 s after its last renewal.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Resource } from '../../src/vocabulary.js';
import { until } from './until.js';

const MiB = 1024 * 1024;
export const ioTimeoutS = 1;
const run = promisify(execFile);

export interface SanlockHost {
  readonly pid: number;
  /** For whoever is to reach this daemon: SANLOCK_RUN_DIR. */
  readonly env: Readonly<Record<string, string>>;
  /** Its log so far. */
  log(): string;
  /** `sanlock client ARGS`, against this daemon; its standard output. Rejects if it fails. */
  client(...args: readonly string[]): Promise<string>;
  /** Joins a lockspace; returns when it is joined. */
  join(lockspace: SanlockFile, hostId: number): Promise<void>;
  /** Ends it without any goodbye; what it held stays as it is on the storage. */
  stop(): Promise<void>;
}

/**
 * Starts a daemon, which the test has to stop; `folder` is a private one of the test, `name` is what the host is called. `graceS`: for how
 * long holders whose leases cannot be renewed may end by themselves, instead of 40 s.
 */
export async function startSanlock(folder: string, name: string, graceS?: number): Promise<SanlockHost> {
  const directory = join(folder, `sanlock-${name}`);
  mkdirSync(directory, { recursive: true });
  const env = { SANLOCK_PRIVILEGED: '0', SANLOCK_RUN_DIR: directory };
  const logFile = join(directory, 'log');
  const output = openSync(logFile, 'a');
  // As whoever runs the test, else it looks for a user `sanlock`; no locked memory, which containers forbid.
  const who = [
    '-U',
    (await run('id', ['-un'])).stdout.trim(),
    '-G',
    (await run('id', ['-gn'])).stdout.trim(),
  ];
  const grace = graceS === undefined ? [] : ['-g', String(graceS)];
  const child = spawn('sanlock', ['daemon', '-D', '-w', '0', '-l', '0', '-e', name, ...grace, ...who], {
    env: { ...process.env, ...env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` },
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  const client = async (...args: readonly string[]): Promise<string> => {
    const { stdout } = await run('sanlock', ['client', ...args], {
      env: { ...process.env, ...env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` },
    });
    return stdout;
  };
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`sanlock ended: ${readFileSync(logFile, 'utf8')}`);
    return client('status').then(
      () => true,
      () => false,
    );
  }, 'sanlock to listen');
  return {
    pid: child.pid ?? 0,
    env,
    client,
    log: () => readFileSync(logFile, 'utf8'),
    async join({ lockspace, path }, hostId) {
      await client(
        'add_lockspace',
        '-s',
        `${lockspace}:${hostId}:${escaped(path)}:0`,
        '-o',
        String(ioTimeoutS),
      );
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
  };
}

/** Two daemons, alpha and beta, that have joined a lockspace as hosts 1 and 2; what this process asks is asked of alpha. */
export async function startSanlockPair(
  folder: string,
  lockspace: SanlockFile,
): Promise<readonly [SanlockHost, SanlockHost]> {
  const alpha = await startSanlock(folder, 'alpha');
  const beta = await startSanlock(folder, 'beta').catch(async (error: unknown) => {
    await alpha.stop();
    throw error;
  });
  await Promise.all([alpha.join(lockspace, 1), beta.join(lockspace, 2)]).catch(async (error: unknown) => {
    await Promise.all([alpha.stop(), beta.stop()]);
    throw error;
  });
  Object.assign(process.env, alpha.env);
  return [alpha, beta];
}

/** A file with a lockspace, and leases behind it. */
export interface SanlockFile {
  readonly lockspace: string;
  readonly path: string;
}

const escaped = (path: string): string => path.replaceAll(':', '\\:');

/** Makes a file with a lockspace. */
export async function makeLockspace(path: string, lockspace: string): Promise<SanlockFile> {
  writeFileSync(path, '', { mode: 0o660 });
  truncateSync(path, MiB);
  const place = `${lockspace}:0:${escaped(path)}:0`;
  await direct('init', '-s', place, '-o', String(ioTimeoutS));
  return { lockspace, path };
}

/** Makes the nth lease of a file, and gives it as the plan would. */
export async function makeLease(file: SanlockFile, n: number, key = `lease-${n}`): Promise<Resource> {
  const offset = (n + 1) * MiB;
  await direct('init', '-r', `${file.lockspace}:${key}:${escaped(file.path)}:${offset}`);
  return leaseResource(file, n, key);
}

export function leaseResource({ lockspace, path }: SanlockFile, n: number, key = `lease-${n}`): Resource {
  return leaseAt(lockspace, key, path, (n + 1) * MiB);
}

/** A lease as the plan has it. */
export function leaseAt(lockspace: string, key: string, path: string, offset: number): Resource {
  return {
    kind: 'lease',
    identity: `lease:${lockspace}:${key}`,
    label: `${lockspace}:${key}`,
    storage: 'name',
    scope: 'cluster',
    lease: { lockspace, key, path, offset },
  };
}

async function direct(...args: readonly string[]): Promise<void> {
  await run('sanlock', ['direct', ...args], {
    env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` },
  });
}
