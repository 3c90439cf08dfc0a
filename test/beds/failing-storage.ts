/**
 * A file whose storage a test can let fail: qemu-storage-daemon serves it over FUSE from another file, through which other hosts
 * reach the same storage (past the page cache, as sanlock does: a page in it would write over what others wrote beside). Stopped, it does not answer; killed, every access is an error at once.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { promisify } from 'node:util';
import { until } from './until.js';

const run = promisify(execFile);

export interface FailingStorage {
  /** The file as the host has it whose storage fails. */
  readonly path: string;
  /** No access is answered any more. */
  stall(): void;
  /** What was asked meanwhile is answered, and all is well. */
  answer(): void;
  /** Every access is an error (ENOTCONN) from now on. */
  fail(): Promise<void>;
  /** It is there again, as if it had been mounted anew. */
  mend(): Promise<void>;
  /** To be called by the test whatever happens. */
  stop(): Promise<void>;
}

/** @param source the file behind it, whose size stays as it is; at `path` there is none yet. */
export async function startFailingStorage(source: string, path: string): Promise<FailingStorage> {
  closeSync(openSync(path, 'wx'));
  let server = await serve(source, path);
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
    async mend() {
      await kill();
      await unmount();
      server = await serve(source, path);
    },
    async stop() {
      await kill();
      await unmount();
    },
  };
}

async function serve(source: string, path: string): Promise<ChildProcess> {
  const log = `${path}.log`;
  const output = openSync(log, 'a');
  const server = spawn(
    'qemu-storage-daemon',
    [
      ...['--blockdev', `driver=file,node-name=f,filename=${source},locking=off,cache.direct=on`],
      ...['--export', `type=fuse,id=e,node-name=f,mountpoint=${path},writable=on,allow-other=off`],
    ],
    { stdio: ['ignore', output, output] },
  );
  closeSync(output);
  const below = statSync(path).dev;
  await until(() => {
    if (server.exitCode !== null) throw new Error(`qemu-storage-daemon ended: ${readFileSync(log, 'utf8')}`);
    return statSync(path).dev !== below;
  }, 'the file to be served');
  return server;
}
