/**
 * Messages with descriptors over a unix socket (sendmsg(2), unix(7) "SCM_RIGHTS").
 *
 * A descriptor in the queue of a socket is open: its locks are held even if the sender ends before anyone received it.
 */
import { monotonicMs, pauseThread } from './clock.js';
import { errno, libcAddress, libcFunction, systemError } from './libc.js';

/** The kernel's limit for one message (SCM_MAX_FD). */
export const descriptorsMax = 253;

const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_NOSIGNAL = 0x4000;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
const MSG_TRUNC = 0x20;
const MSG_CTRUNC = 0x8;
const EINTR = 4;
const EAGAIN = 11;
/**
 * The other end has closed without reading all that it was sent: said once, before what it has sent itself is received,
 * and before the next send says EPIPE.
 */
const ECONNRESET = 104;
const ETOOMANYREFS = 109;
/** Until some of a user's descriptors that are on their way have been received: root has no limit of them. */
const retryMs = 1;
/** Nobody receives them who does not within this. */
const retryMsMax = 5_000;

/** `struct cmsghdr`: u64 length with the header, i32 level, i32 type; the data is padded to 8 bytes. */
const controlHeaderBytes = 16;
const controlBytes = controlHeaderBytes + Math.ceil((descriptorsMax * 4) / 8) * 8;
/** `struct msghdr`: name 0, its length 8, vector 16, its count 24, control 32, its length 40, flags 48. */
const headerBytes = 56;

const sendmsg = libcFunction<[fd: number, header: Buffer, flags: number]>(
  'int64_t sendmsg(int fd, void *header, int flags)',
);
const recvmsg = libcFunction<[fd: number, header: Buffer, flags: number]>(
  'int64_t recvmsg(int fd, void *header, int flags)',
);

/** One way of a socket, with buffers of its own: what the kernel is told are addresses, which must not move. */
export class DescriptorMessages {
  #fd: number;
  /** What is sent, and what was received last. */
  readonly buffer: Buffer;
  readonly #vector = Buffer.alloc(16);
  readonly #control = Buffer.alloc(controlBytes);
  readonly #header = Buffer.alloc(headerBytes);
  readonly #controlAddress: bigint;

  /** @param bytesMax the longest message. */
  constructor(fd: number, bytesMax: number) {
    this.#fd = fd;
    // Of its own, not of Node's pool.
    this.buffer = Buffer.alloc(bytesMax);
    this.#vector.writeBigUInt64LE(libcAddress(this.buffer), 0);
    this.#header.writeBigUInt64LE(libcAddress(this.#vector), 16);
    this.#header.writeBigUInt64LE(1n, 24);
    this.#controlAddress = libcAddress(this.#control);
    this.#control.writeInt32LE(SOL_SOCKET, 8);
    this.#control.writeInt32LE(SCM_RIGHTS, 12);
  }

  /** From now on this is sent to, and received from. */
  moveTo(fd: number): void {
    this.#fd = fd;
  }

  /**
   * Sends the first `bytes` of `buffer`. Blocks while the queue is full, unless the socket does not, or `wait` is false. Throws
   * `EPIPE` where nobody receives, and `EAGAIN` where there is no room, for as long as the socket is to wait: the queue is full,
   * or more descriptors of this user are on their way than may be, and stay there.
   */
  send(bytes: number, descriptors: readonly number[], wait = true): void {
    const has = descriptors.length > 0;
    // The upper halves of lengths stay zero.
    this.#vector.writeUInt32LE(bytes, 8);
    this.#header.writeBigUInt64LE(has ? this.#controlAddress : 0n, 32);
    this.#header.writeUInt32LE(
      has ? controlHeaderBytes + Math.ceil((descriptors.length * 4) / 8) * 8 : 0,
      40,
    );
    if (has) this.#control.writeUInt32LE(controlHeaderBytes + descriptors.length * 4, 0);
    for (let index = 0; index < descriptors.length; index++) {
      this.#control.writeInt32LE(descriptors[index] ?? -1, controlHeaderBytes + index * 4);
    }
    const flags = MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT);
    let endMs: number | undefined;
    while (sendmsg(this.#fd, this.#header, flags) === -1) {
      const number = errno();
      if (number === EINTR || number === ECONNRESET) continue;
      if (number !== ETOOMANYREFS || monotonicMs() >= (endMs ??= monotonicMs() + retryMsMax))
        throw systemError('sendmsg', number === ETOOMANYREFS ? EAGAIN : number);
      pauseThread(retryMs);
    }
  }

  /**
   * Receives one message into `buffer`. Undefined: the other end has closed; `nothing`: there is none, and `wait` is
   * false. Throws where the message was longer than the buffer, or brought more descriptors than fit.
   */
  receive(
    wait: boolean,
  ): { readonly bytes: number; readonly descriptors: readonly number[] } | 'nothing' | undefined {
    this.#vector.writeUInt32LE(this.buffer.length, 8);
    this.#header.writeBigUInt64LE(this.#controlAddress, 32);
    this.#header.writeUInt32LE(controlBytes, 40);
    this.#header.writeInt32LE(0, 48);
    const flags = MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT);
    let count = recvmsg(this.#fd, this.#header, flags);
    if (count === -1 && errno() === ECONNRESET) count = recvmsg(this.#fd, this.#header, flags);
    if (count === -1) {
      const number = errno();
      if (number === EAGAIN || number === EINTR) return 'nothing';
      throw systemError('recvmsg', number);
    }
    const descriptors = this.#received();
    if ((this.#header.readInt32LE(48) & (MSG_TRUNC | MSG_CTRUNC)) !== 0) {
      throw new Error(
        `a message of more than ${this.buffer.length} bytes, or with more descriptors than there is room for`,
      );
    }
    return count === 0 && descriptors.length === 0 ? undefined : { bytes: count, descriptors };
  }

  #received(): number[] {
    const length = this.#header.readUInt32LE(40);
    if (length < controlHeaderBytes) return [];
    const end = this.#control.readUInt32LE(0);
    const descriptors: number[] = [];
    for (let at = controlHeaderBytes; at + 4 <= end; at += 4) descriptors.push(this.#control.readInt32LE(at));
    return descriptors;
  }
}
