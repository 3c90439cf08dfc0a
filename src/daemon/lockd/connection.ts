/** One peer of the lock protocol: what it sent, who it is, and what it has not read yet. */
import { lockFrameBytesMax } from '../../protocol/lock-protocol.js';
import { FrameReader, type RpcFrame } from '../../protocol/rpc-frame.js';
import { closeDescriptor } from '../../system/descriptors.js';
import type { PeerCredentials } from '../../system/peer-credentials.js';
import { receiveOrReset, resetByPeer, transmit } from '../../system/unix-socket.js';
import type { Lock, LockdOwner } from './lock-table.js';
import type { Caller } from './procedures.js';

/** Answers are small and follow calls one by one: who lets so much pile up does not read. */
const unsentBytesMax = 256 * 1024;
const nothing = Buffer.alloc(0);

export class Connection implements Caller {
  readonly fd: number;
  readonly peer: PeerCredentials;
  owner: LockdOwner | undefined;
  restricted = false;
  closed = false;
  /** The last answer, if it said that this was acquired, until the peer has shown by another call that it has read it. */
  acquired: Lock | undefined;
  readonly #reader = new FrameReader(lockFrameBytesMax);
  #unsent: Buffer = nothing;

  constructor(fd: number, peer: PeerCredentials) {
    this.fd = fd;
    this.peer = peer;
  }

  get hasUnsent(): boolean {
    return this.#unsent.length > 0;
  }

  /**
   * Reads what is there, and gives each whole frame to `take`. Throws ProtocolError where the framing is lost.
   * `reset`: the peer has closed, and had not read the last answer.
   */
  read(buffer: Buffer, take: (frame: RpcFrame) => void): 'open' | 'closed' | 'reset' {
    const count = receiveOrReset(this.fd, buffer);
    if (count > 0) this.#reader.push(buffer, take, count);
    return count === resetByPeer ? 'reset' : count === 0 ? 'closed' : 'open';
  }

  /**
   * `waiting`: not all of it has gone out, and the rest follows when the peer reads. `gone`: the peer has closed, or does
   * not read at all; it is to be closed.
   */
  send(bytes: Buffer): 'sent' | 'waiting' | 'gone' {
    const all = this.hasUnsent ? Buffer.concat([this.#unsent, bytes]) : bytes;
    const count = all.length === 0 ? -1 : transmit(this.fd, all);
    if (count === all.length) {
      this.#unsent = nothing;
      return 'sent';
    }
    if (count === 0) return 'gone';
    // Copied: what was given is written over by the next answer.
    this.#unsent = Buffer.from(all.subarray(Math.max(count, 0)));
    return this.#unsent.length > unsentBytesMax ? 'gone' : 'waiting';
  }

  /** Sends on what waits. */
  flush(): 'sent' | 'waiting' | 'gone' {
    return this.hasUnsent ? this.send(nothing) : 'sent';
  }

  close(): void {
    this.closed = true;
    closeDescriptor(this.fd);
  }
}
