/**
 * One connection to virtlockd: calls go one after another, each waits for its reply.
 *
 * Invariant: a connection that works is never closed before this process ends. virtlockd takes the end of a
 * connection for the end of the process that made it: it gives back all that this process holds, through whichever
 * connection, and if there was anything it kills the process.
 */
import { HoldfastError } from '../../errors.js';
import { encodeLockCall, lockFrameBytesMax, type LockCall } from '../../protocol/lock-protocol.js';
import { decodeRpcError, rpcErrorCode, type RpcError } from '../../protocol/rpc-error.js';
import { FrameReader, rpcStatus, type RpcFrame } from '../../protocol/rpc-frame.js';
import { monotonicMs } from '../../system/clock.js';
import { maySharePids } from '../../system/pid-namespace.js';
import { peerCredentials } from '../../system/peer-credentials.js';
import { awaitReadable, peerIsThere } from '../../system/socket-peer.js';
import { connectUnix, receive, transmit } from '../../system/unix-socket.js';

/**
 * virtlockd serves all its clients in one thread, and stands still for up to 3 s while it kills one: some of
 * them may come together before it gets to this one.
 */
const replyMsMax = 15_000;
const receiveBytesMax = 4096;
/** A reply takes 50 to 300 us: standing still for it is cheaper than a round of the event loop. */
const standStillMs = 1;
const standStillsMax = 3;
const pauseMsMax = 20;

export class LockConnection {
  /** Whoever has it keeps the locks. */
  readonly descriptor: number;
  /** Of virtlockd, or of who listens for it (systemd). */
  readonly peerPid: number;
  readonly #socketPath: string;
  readonly #frames: RpcFrame[] = [];
  readonly #reader = new FrameReader(lockFrameBytesMax);
  readonly #input = Buffer.allocUnsafe(receiveBytesMax);
  #serial = 0;
  #failure: HoldfastError | undefined;

  private constructor(socketPath: string, descriptor: number, peerPid: number) {
    this.#socketPath = socketPath;
    this.descriptor = descriptor;
    this.peerPid = peerPid;
  }

  /** @throws HoldfastError DRIVER_FAILED, NOT_PERMITTED */
  static open(socketPath: string): LockConnection {
    let descriptor: number;
    try {
      descriptor = connectUnix(socketPath);
    } catch (cause) {
      throw unreachable(cause as NodeJS.ErrnoException);
    }
    const { pid } = peerCredentials(descriptor);
    if (pid === 0 || !maySharePids(pid)) {
      const message = `virtlockd at ${socketPath} runs in another pid namespace: it would not notice the end of what it locks for`;
      throw new HoldfastError('DRIVER_FAILED', message, {
        remedy: "Run Holdfast in virtlockd's pid namespace (docker run --pid=host), or use another driver.",
      });
    }
    return new LockConnection(socketPath, descriptor, pid);
  }

  /** Why it cannot be used any longer; undefined: as far as is known, it can. */
  get failure(): HoldfastError | undefined {
    return this.#failure;
  }

  /** Looks whether virtlockd is still there. */
  stillThere(): boolean {
    if (this.#failure === undefined && !peerIsThere(this.descriptor)) this.#fail('closed the connection');
    return this.#failure === undefined;
  }

  /**
   * The error that is answered; undefined: done.
   * @throws HoldfastError DRIVER_FAILED: there is no answer, and it is not known whether it was done
   */
  async call(call: LockCall): Promise<RpcError | undefined> {
    const serial = ++this.#serial;
    const end = monotonicMs() + replyMsMax;
    try {
      await this.#send(encodeLockCall(call, serial), end);
      const reply = await this.#reply(serial, end);
      if (reply.status === rpcStatus.ok) return undefined;
      const error = decodeRpcError(reply.payload);
      if (error.code !== rpcErrorCode.rpc) return error;
      throw this.#fail(`does not speak virtlockd's protocol: ${error.message ?? 'no reason is given'}`);
    } catch (error) {
      if (error instanceof HoldfastError) throw error;
      throw this.#fail('does not speak, or no longer speaks', error);
    }
  }

  async #send(bytes: Buffer, end: number): Promise<void> {
    for (let sent = 0, pauseMs = 1; sent < bytes.length;) {
      if (this.#failure !== undefined) throw this.#failure;
      const count = transmit(this.descriptor, bytes.subarray(sent));
      if (count === 0) throw this.#fail('closed the connection');
      if (count > 0) sent += count;
      else pauseMs = await this.#pause(pauseMs, end);
    }
  }

  async #reply(serial: number, end: number): Promise<RpcFrame> {
    for (let round = 0, pauseMs = 1; ;) {
      // A reply with another serial is one that somebody gave up waiting for.
      for (let frame = this.#frames.shift(); frame !== undefined; frame = this.#frames.shift()) {
        if (frame.serial === serial) return frame;
      }
      if (this.#failure !== undefined) throw this.#failure;
      const count = receive(this.descriptor, this.#input);
      if (count === 0) throw this.#fail('closed the connection');
      if (count > 0) {
        this.#reader.push(Buffer.from(this.#input.subarray(0, count)), (frame) => this.#frames.push(frame));
      } else if (round++ < standStillsMax) {
        awaitReadable(this.descriptor, standStillMs);
      } else {
        pauseMs = await this.#pause(pauseMs, end);
      }
    }
  }

  /** Gives the next pause. A late reply does no harm to the connection: it is passed over when it comes. */
  async #pause(ms: number, end: number): Promise<number> {
    if (monotonicMs() > end) {
      const message = `virtlockd at ${this.#socketPath} has not answered for ${replyMsMax / 1000} s`;
      throw new HoldfastError('DRIVER_FAILED', message, {
        remedy: 'See what it is doing; it may be waiting for a file server.',
        retryable: true,
      });
    }
    await new Promise((resolve) => setTimeout(resolve, ms));
    return Math.min(ms * 2, pauseMsMax);
  }

  #fail(what: string, cause?: unknown): HoldfastError {
    this.#failure ??= new HoldfastError('DRIVER_FAILED', `virtlockd at ${this.#socketPath} ${what}`, {
      remedy: 'See its log. It takes peers of one user, and 1,024 at most (max_clients in virtlockd.conf).',
      ...(cause === undefined ? {} : { cause }),
    });
    return this.#failure;
  }
}

function unreachable(cause: NodeJS.ErrnoException): HoldfastError {
  if (cause.code === 'EACCES' || cause.code === 'EPERM') {
    return new HoldfastError('NOT_PERMITTED', `virtlockd's socket may not be used: ${cause.message}`, {
      cause,
      remedy: 'virtlockd serves the user it runs as: the system-wide one serves root.',
    });
  }
  return new HoldfastError('DRIVER_FAILED', `virtlockd does not listen: ${cause.message}`, {
    cause,
    remedy:
      process.geteuid?.() === 0
        ? 'Start it: systemctl start virtlockd.socket'
        : 'Start it: virtlockd --daemon (libvirt starts it with the first guest of qemu:///session).',
  });
}
