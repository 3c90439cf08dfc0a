/** What the keeper has of one channel: descriptors and records by id. */
import { closeDescriptor } from '../../system/descriptors.js';
import { setSendBuffer } from '../../system/unix-socket.js';
import { keepKind, KeepReader, KeepWriter, type KeepEntry } from './keep-message.js';

interface KeptThing {
  readonly record: string;
  /** Most things have one descriptor, and there can be many things. */
  readonly descriptors: number | readonly number[];
}

const listOf = ({ descriptors }: KeptThing): readonly number[] =>
  typeof descriptors === 'number' ? [descriptors] : descriptors;

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

  remove(id: number): void {
    const thing = this.#things.get(id);
    if (thing === undefined) return;
    for (const fd of listOf(thing)) closeDescriptor(fd);
    this.#things.delete(id);
  }

  /** Does what an entry says. Nothing of a daemon that is out of its mind gives up what is kept. */
  take({ kind, id, record, descriptors }: KeepEntry): void {
    if (kind === keepKind.keep) {
      const [only] = descriptors;
      const isOne = only !== undefined && descriptors.length === 1;
      this.add(id, { record: record.toString(), descriptors: isOne ? only : descriptors });
      return;
    }
    const known = this.#things.get(id);
    if (kind === keepKind.more && known !== undefined) {
      this.#things.set(id, { ...known, descriptors: [...listOf(known), ...descriptors] });
      return;
    }
    for (const fd of descriptors) closeDescriptor(fd);
    if (kind === keepKind.drop) this.remove(id);
    if (kind === keepKind.update && known !== undefined) {
      this.#things.set(id, { ...known, record: record.toString() });
    }
  }

  /** Gives all of it to a daemon that starts. It is still kept here. */
  giveTo(fd: number): void {
    setSendBuffer(fd, queueBytes);
    const writer = new KeepWriter(fd);
    this.writeTo(writer);
    writer.add(keepKind.end, 0, '', []);
    writer.commit();
  }

  writeTo(writer: KeepWriter): void {
    for (const [id, thing] of this.#things) writer.add(keepKind.keep, id, thing.record, listOf(thing));
  }
}

/** The keeper's end of a channel. */
export class KeeperEnd {
  readonly #reader: KeepReader;
  readonly #things: KeptThings;
  /** How many entries it has taken. */
  entries = 0;

  constructor(fd: number, things: KeptThings) {
    this.#reader = new KeepReader(fd, closeDescriptor);
    this.#things = things;
  }

  readonly #take = (entry: KeepEntry): void => {
    this.entries++;
    this.#things.take(entry);
  };

  /** Takes everything that waits. False: the daemon has closed the channel, and there was nothing more. */
  drain(): boolean {
    for (;;) {
      const read = this.#reader.read(false, this.#take);
      if (read !== true) return read === 'nothing';
    }
  }
}
