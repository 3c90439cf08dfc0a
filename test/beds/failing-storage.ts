/**
 * A file whose storage a test can let fail: a program serves it over FUSE from another file, through which other hosts reach the same
 * storage. Stopped, it does not answer; killed, every access is an error at once.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { until } from './until.js';

const run = promisify(execFile);
const program = fileURLToPath(new URL('./fuse-file.ts', import.meta.url));

export interface FailingStorage {
  /** The file as the host has it whose storage fails. */
  readonly path: string;
  /** No access is answered any more. */
  stall(): void;
  /** What was asked meanwhile is answered, and all is well. */
  answer(): void;
  /** Every access is an error (ENOTCONN) from now on. */
  fail(): Promise<void>;
  /** To be called by the test whatever happens. */
  stop(): Promise<void>;
}

/** @param source the file behind it, whose size stays as it is; at `path` there is none yet. */
export async function startFailingStorage(source: string, path: string): Promise<FailingStorage> {
  closeSync(openSync(path, 'wx'));
  const server = await serve(source, path);
  const kill = async (): Promise<void> => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const gone = once(server, 'exit');
    server.kill('SIGKILL');
    await gone;
  };
  const unmount = (): Promise<unknown> => run('umount', ['-l', path]).catch(() => undefined);
  return {
    path,
    stall: () => void server.kill('SIGSTOP'),
    answer: () => void server.kill('SIGCONT'),
    fail: kill,
    async stop() {
      await kill();
      await unmount();
    },
  };
}

async function serve(source: string, path: string): Promise<ChildProcess> {
  const log = `${path}.log`;
  const output = openSync(log, 'a');
  const server = spawn(process.execPath, ['--import', 'tsx', program, source, path], {
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  const said = (): string => readFileSync(log, 'utf8');
  await until(() => {
    if (server.exitCode !== null) throw new Error(`${program} ended: ${said()}`);
    return said().includes('serving');
  }, 'the file to be served');
  return server;
}
