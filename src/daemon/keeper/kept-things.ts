/** What the keeper has of one channel: descriptors and records by id. */
import { closeSync } from 'node:fs';
import { DescriptorMessages } from '../../system/pass-descriptors.js';
import { setSendBuffer } from '../../system/unix-socket.js';
import { keepKind, messageBytesMax, readKeepMessage, writeKeepMessage } from './keep-message.js';

export interface KeptThing {
  readonly record: string;
  readonly descriptors: readonly number[];
}

const queueBytes = 8 * 1024 * 1024;

export class KeptThings {
  readonly #things = new Map<number, KeptThing>();

  get size(): number {
    return this.#things.size;
  }

  add(id: number, thing: KeptThing): void {
    this.remove(id);
    this.#things.set(id, thing);
  }

  /** The same descriptors with another record; what is not kept is left alone. */
  replaceRecord(id: number, record: string): void {
    const thing = this.#things.get(id);
    if (thing !== undefined) this.#things.set(id, { ...thing, record });
  }

  remove(id: number): void {
    for (const fd of this.#things.get(id)?.descriptors ?? []) closeSync(fd);
    this.#things.delete(id);
  }

  /** Gives all of it to a daemon that starts. It is still kept here. */
  giveTo(fd: number): void {
    setSendBuffer(fd, queueBytes);
    const messages = new DescriptorMessages(fd, messageBytesMax);
    for (const [id, { record, descriptors }] of this.#things) {
      messages.send(writeKeepMessage(messages.buffer, keepKind.keep, id, record), descriptors);
    }
    messages.send(writeKeepMessage(messages.buffer, keepKind.end, 0, ''), []);
  }
}

/** The keeper's end of a channel. */
export class KeeperEnd {
  readonly #messages: DescriptorMessages;
  readonly #things: KeptThings;

  constructor(fd: number, things: KeptThings) {
    this.#messages = new DescriptorMessages(fd, messageBytesMax);
    this.#things = things;
  }

  /** Takes everything that waits. False: the daemon has closed the channel, and there was nothing more. */
  drain(): boolean {
    for (;;) {
      const received = this.#messages.receive(false);
      if (received === undefined) return false;
      if (received === 'nothing') return true;
      this.#take(this.#messages.buffer.subarray(0, received.bytes), received.descriptors);
    }
  }

  #take(bytes: Buffer, descriptors: readonly number[]): void {
    const message = readKeepMessage(bytes);
    if (message?.kind === keepKind.keep) {
      this.#things.add(message.id, { record: message.record.toString('utf8'), descriptors });
    } else if (message?.kind === keepKind.update) {
      this.#things.replaceRecord(message.id, message.record.toString('utf8'));
    } else if (message?.kind === keepKind.drop) {
      this.#things.remove(message.id);
    } else {
      // Nothing of a daemon that is out of its mind is believed, and nothing that is kept is given up for it.
      for (const fd of descriptors) closeSync(fd);
    }
  }
}
