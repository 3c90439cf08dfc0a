/**
 * A thread of the daemon and its keeper: what is kept survives the daemon.
 *
 * Invariant: when `keep` returns, the descriptors are in the queue of the keeper's socket, so their locks are held even if
 * this process ends at the next instruction. Nothing waits for the keeper to have read them.
 */
import { DescriptorMessages } from '../../system/pass-descriptors.js';
import { setSendBuffer } from '../../system/unix-socket.js';
import { keepKind, messageBytesMax, readKeepMessage, writeKeepMessage } from './keep-message.js';

/** Something that outlived an earlier daemon. */
export interface Kept {
  readonly id: number;
  readonly record: string;
  readonly descriptors: readonly number[];
}

/** Of messages that the keeper has not read yet: some thousands. */
const queueBytes = 8 * 1024 * 1024;

export class Channel {
  readonly #messages: DescriptorMessages;
  #keeperEnded = false;

  constructor(fd: number) {
    setSendBuffer(fd, queueBytes);
    this.#messages = new DescriptorMessages(fd, messageBytesMax);
  }

  /** What the keeper has: to be called once, before anything else. Blocks until all of it is there. */
  takeKept(): Kept[] {
    const kept: Kept[] = [];
    for (;;) {
      const received = this.#messages.receive(true);
      if (received === 'nothing') continue;
      if (received === undefined) throw new Error('the keeper closed the channel before it had given all');
      const message = readKeepMessage(this.#messages.buffer.subarray(0, received.bytes));
      if (message?.kind === keepKind.end) return kept;
      if (message?.kind !== keepKind.keep) throw new Error('the keeper sent what is no message of its');
      const { descriptors } = received;
      kept.push({ id: message.id, record: message.record.toString('utf8'), descriptors });
    }
  }

  /**
   * Whether somebody has killed the keeper. Then what is held is held by this process alone, and only the journal outlives
   * it: still better than to give it up, or to refuse to give it back.
   */
  get keeperEnded(): boolean {
    return this.#keeperEnded;
  }

  keep(id: number, record: string, descriptors: readonly number[]): void {
    this.#send(writeKeepMessage(this.#messages.buffer, keepKind.keep, id, record), descriptors);
  }

  /** The same thing, with another record. */
  update(id: number, record: string): void {
    this.#send(writeKeepMessage(this.#messages.buffer, keepKind.update, id, record), []);
  }

  /** The keeper closes its descriptors of it, soon; a lock that has to be free at once is unlocked first. */
  drop(id: number): void {
    this.#send(writeKeepMessage(this.#messages.buffer, keepKind.drop, id, ''), []);
  }

  #send(bytes: number, descriptors: readonly number[]): void {
    if (this.#keeperEnded) return;
    try {
      this.#messages.send(bytes, descriptors);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
      this.#keeperEnded = true;
    }
  }
}
