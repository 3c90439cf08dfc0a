/**
 * A real virtlockd of the test's own, and a client that drives it over its socket.
 *
 * It runs in a mount namespace with its own /run and /etc/libvirt, so the machine's files are not touched; from
 * outside its socket is reached through /proc/PID/root.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, symlinkSync, unlinkSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';

export interface Virtlockd {
  readonly pid: number;
  connect(): Promise<VirtlockdClient>;
  /** Ends it, without any goodbye. */
  stop(): Promise<void>;
}

const startMsMax = 10_000;
const pollMs = 20;

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
      `mount --bind "$1" /run && exec virtlockd -f /dev/null -p /run/v.pid`,
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
  await untilExists(socket, child).catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return {
    pid: child.pid ?? 0,
    connect: () => connectTo(socket),
    stop,
  };
}

async function untilExists(path: string, child: ChildProcess): Promise<void> {
  for (let waited = 0; !existsSync(path); waited += pollMs) {
    if (child.exitCode !== null) throw new Error(`virtlockd ended at once with status ${child.exitCode}`);
    if (waited > startMsMax) throw new Error(`virtlockd did not make ${path}`);
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** A unix socket's path has at most 107 bytes; a link in the current directory's place makes a long one short. */
async function connectTo(path: string): Promise<VirtlockdClient> {
  const short = `/tmp/holdfast-virtlockd-${process.pid}-${linkCount++}`;
  symlinkSync(path, short);
  try {
    const socket = connect(short);
    await once(socket, 'connect');
    return new VirtlockdClient(socket);
  } finally {
    unlinkSync(short);
  }
}
let linkCount = 0;

const program = 0xea7beef;
const procedures = { register: 1, restrict: 2, newLockspace: 3, acquire: 6, release: 7, createLockspace: 8 };

const word = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const text = (value: string): Buffer => {
  const bytes = Buffer.from(value);
  return Buffer.concat([word(bytes.length), bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
};

/** An error that virtlockd answered: 87 is "held". */
export class VirtlockdError extends Error {
  override readonly name = 'VirtlockdError';
  readonly code: number;
  constructor(code: number) {
    super(`virtlockd answered error ${code}`);
    this.code = code;
  }
}

/** One connection; calls are made one after another. */
export class VirtlockdClient {
  readonly #socket: Socket;
  #serial = 0;
  #received = Buffer.alloc(0);
  #waiting: { resolve: () => void; reject: (error: Error) => void } | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      this.#waiting?.resolve();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => this.#waiting?.reject(new Error('virtlockd closed the connection')));
  }

  async #call(procedure: number, ...payload: readonly Buffer[]): Promise<void> {
    const body = Buffer.concat([
      word(program),
      word(1),
      word(procedure),
      word(0),
      word(++this.#serial),
      word(0),
      ...payload,
    ]);
    this.#socket.write(Buffer.concat([word(body.length + 4), body]));
    while (this.#received.length < 4 || this.#received.length < this.#received.readUInt32BE(0)) {
      await new Promise<void>((resolve, reject) => (this.#waiting = { resolve, reject }));
    }
    const length = this.#received.readUInt32BE(0);
    const reply = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    if (reply.readInt32BE(24) !== 0) throw new VirtlockdError(reply.readInt32BE(28));
  }

  /** Says who holds: `pid` is looked at when this connection closes. */
  register(name: string, uuid: string, pid: number, id = 1): Promise<void> {
    return this.#call(
      procedures.register,
      Buffer.from(uuid.replaceAll('-', ''), 'hex'),
      text(name),
      word(id),
      word(pid),
      word(0),
    );
  }

  createLockspace(path: string): Promise<void> {
    return this.#call(procedures.createLockspace, text(path));
  }

  /** `lockspace` '' locks the file `name` itself. Flags: 1 shared, 2 autocreate. */
  acquire(lockspace: string, name: string, flags = 0): Promise<void> {
    return this.#call(procedures.acquire, text(lockspace), text(name), word(flags));
  }

  release(lockspace: string, name: string): Promise<void> {
    return this.#call(procedures.release, text(lockspace), text(name), word(0));
  }

  close(): void {
    this.#socket.destroy();
  }
}
