/** A client of the lock program that can also misbehave: it sends any bytes, and sees what comes back. */
import { once } from 'node:events';
import { closeSync, constants, openSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { encodeLockCall, type LockCall } from '../../src/protocol/lock-protocol.js';
import { decodeRpcError, type RpcError } from '../../src/protocol/rpc-error.js';
import { FrameReader, rpcStatus, type RpcFrame } from '../../src/protocol/rpc-frame.js';

const answerMsMax = 20_000;

export class LockClient {
  readonly #socket: Socket;
  readonly #frames: RpcFrame[] = [];
  #closed = false;
  #serial = 0;
  #wake: () => void = () => undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    const reader = new FrameReader();
    socket.on('data', (bytes: Buffer) => {
      reader.push(Buffer.from(bytes), (frame) => this.#frames.push(frame));
      this.#wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
  }

  /** A unix socket's path has at most 107 bytes, and a test's folder can be longer: its directory is named by a descriptor. */
  static async connect(path: string): Promise<LockClient> {
    const directory = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      const socket = connect(`/proc/self/fd/${directory}/${basename(path)}`);
      await once(socket, 'connect');
      return new LockClient(socket);
    } finally {
      closeSync(directory);
    }
  }

  /** Sends a call and gives the error that is answered; undefined: done. Throws if the connection is closed instead. */
  async call(call: LockCall): Promise<RpcError | undefined> {
    this.send(encodeLockCall(call, ++this.#serial));
    const reply = await this.next();
    if (reply === 'closed') throw new Error('the server closed the connection');
    if (reply.serial !== this.#serial) throw new Error(`a reply with serial ${reply.serial}`);
    return reply.status === rpcStatus.ok ? undefined : decodeRpcError(reply.payload);
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  /** Says that nothing more will be sent. */
  endSending(): void {
    this.#socket.end();
  }

  /** The next frame, or that there will be none. Throws after a long time with neither. */
  async next(waitMs: number = answerMsMax): Promise<RpcFrame | 'closed'> {
    const frame = await this.nextWithin(waitMs);
    if (frame === 'nothing') throw new Error('the server says nothing');
    return frame;
  }

  /** The same, where to say nothing is an answer. */
  async nextWithin(waitMs: number): Promise<RpcFrame | 'closed' | 'nothing'> {
    const end = performance.now() + waitMs;
    for (;;) {
      const frame = this.#frames.shift();
      if (frame !== undefined) return frame;
      if (this.#closed) return 'closed';
      const left = end - performance.now();
      if (left <= 0) return 'nothing';
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}
