/** One peer of the lock protocol: what it sent, who it is, and what it has not read yet. */
import { closeSync } from 'node:fs';
import { lockFrameBytesMax } from '../../protocol/lock-protocol.js';
import { FrameReader, type RpcFrame } from '../../protocol/rpc-frame.js';
import type { PeerCredentials } from '../../system/peer-credentials.js';
import { receive, transmit } from '../../system/unix-socket.js';
import type { LockdOwner } from './lock-table.js';

/** Answers are small and follow calls one by one: who lets so much pile up does not read. */
const unsentBytesMax = 256 * 1024;

export class Connection {
  readonly fd: number;
  readonly peer: PeerCredentials;
  owner: LockdOwner | undefined;
  restricted = false;
  /** Calls whose answer waits for somebody else. */
  waiting = 0;
  readonly #reader = new FrameReader(lockFrameBytesMax);
  #unsent: Buffer = Buffer.alloc(0);

  constructor(fd: number, peer: PeerCredentials) {
    this.fd = fd;
    this.peer = peer;
  }

  get hasUnsent(): boolean {
    return this.#unsent.length > 0;
  }

  /**
   * Reads what is there, and gives each whole frame to `take`. False: the peer has closed.
   * Throws ProtocolError where the framing is lost.
   */
  read(buffer: Buffer, take: (frame: RpcFrame) => void): boolean {
    const count = receive(this.fd, buffer);
    if (count > 0) this.#reader.push(buffer.subarray(0, count), take);
    return count !== 0;
  }

  /** False: the peer has closed, or does not read; it is to be closed. */
  send(bytes: Buffer): boolean {
    const all = this.hasUnsent ? Buffer.concat([this.#unsent, bytes]) : bytes;
    const count = transmit(this.fd, all);
    if (count === 0) return false;
    this.#unsent = count === all.length ? Buffer.alloc(0) : all.subarray(Math.max(count, 0));
    return this.#unsent.length <= unsentBytesMax;
  }

  close(): void {
    closeSync(this.fd);
  }
}
