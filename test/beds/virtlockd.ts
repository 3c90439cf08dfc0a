/**
 * A real virtlockd of the test's own, and a client that drives it over its socket.
 *
 * It runs in a mount namespace with its own /run and /etc/libvirt, so the machine's files are not touched; from
 * outside its socket is reached through /proc/PID/root.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { leaveLoopMounts } from './foreign-mounts.js';
import type { LockCall } from '../../src/protocol/lock-protocol.js';
import type { RpcError } from '../../src/protocol/rpc-error.js';
import { LockClient } from './lock-client.js';
import { until } from './until.js';

export interface Virtlockd {
  readonly pid: number;
  /** The path of its socket, as this process reaches it. */
  readonly socket: string;
  connect(): Promise<VirtlockdClient>;
  /** Ends it, without any goodbye. */
  stop(): Promise<void>;
}

/** Starts virtlockd, which the test has to stop; `folder` is a private one of the test. Needs root, `unshare` and `virtlockd`. */
export async function startVirtlockd(folder: string): Promise<Virtlockd> {
  const run = join(folder, 'virtlockd-run');
  mkdirSync(run, { recursive: true });
  // $$ stays the pid: unshare and sh both become the next program. The settings of the machine do not matter to it.
  const child = spawn(
    'unshare',
    [
      '-m',
      '--propagation',
      'private',
      'sh',
      '-c',
      `${leaveLoopMounts} mount --bind "$1" /run && exec virtlockd -f /dev/null -p /run/v.pid`,
      'sh',
      run,
    ],
    { stdio: 'ignore' },
  );
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  };
  const socket = join(run, 'libvirt', 'virtlockd-sock');
  await untilListening(socket, child).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return {
    pid: child.pid ?? 0,
    socket,
    connect: async () => new VirtlockdClient(await LockClient.connect(socket)),
    stop,
  };
}

/** Its socket is there a moment before anybody listens on it. */
async function untilListening(path: string, child: ChildProcess): Promise<void> {
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`virtlockd ended at once with status ${child.exitCode}`);
    return LockClient.connect(path).then(
      (client) => {
        client.close();
        return true;
      },
      () => false,
    );
  }, `virtlockd to listen on ${path}`);
}

/** An error that virtlockd answered: 87 is "held". */
export class VirtlockdError extends Error {
  override readonly name = 'VirtlockdError';
  readonly code: number;
  constructor({ code, message }: RpcError) {
    super(`virtlockd answered error ${code}: ${message ?? ''}`);
    this.code = code;
  }
}

/** One connection; calls are made one after another. */
export class VirtlockdClient {
  readonly #client: LockClient;

  constructor(client: LockClient) {
    this.#client = client;
  }

  async #call(call: LockCall): Promise<void> {
    const error = await this.#client.call(call);
    if (error !== undefined) throw new VirtlockdError(error);
  }

  /** Says who holds: `pid` is looked at when this connection closes. */
  register(name: string, uuid: string, pid: number, id = 1): Promise<void> {
    const owner = { uuid: Buffer.from(uuid.replaceAll('-', ''), 'hex'), name, id, pid };
    return this.#call({ call: 'register', owner, flags: 0 });
  }

  createLockspace(path: string): Promise<void> {
    return this.#call({ call: 'createLockspace', path });
  }

  /** `lockspace` '' locks the file `name` itself. Flags: 1 shared, 2 autocreate. */
  acquire(lockspace: string, name: string, flags = 0): Promise<void> {
    return this.#call({ call: 'acquire', path: lockspace, name, flags });
  }

  release(lockspace: string, name: string): Promise<void> {
    return this.#call({ call: 'release', path: lockspace, name, flags: 0 });
  }

  close(): void {
    this.#client.close();
  }
}
