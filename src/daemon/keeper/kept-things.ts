/** What the keeper has of one channel: descriptors and records by id. */
import { monotonicMs } from '../../system/clock.js';
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

/** Another place that keeps the same, of what has one descriptor. */
export interface KeptMirror {
  kept(id: number, fd: number, nowMs: number): void;
  dropped(id: number): void;
}

export class KeptThings {
  readonly #things = new Map<number, KeptThing>();
  #mirror: KeptMirror | undefined;

  get size(): number {
    return this.#things.size;
  }

  add(id: number, thing: KeptThing): void {
    this.remove(id);
    this.#things.set(id, thing);
    this.#tellMirror(id, thing);
  }

  /** What is here, and from now on what comes and goes. */
  mirrorIn(mirror: KeptMirror): void {
    this.#mirror = mirror;
    for (const [id, thing] of this.#things) this.#tellMirror(id, thing);
  }

  #tellMirror(id: number, { descriptors }: KeptThing): void {
    if (typeof descriptors === 'number') this.#mirror?.kept(id, descriptors, monotonicMs());
  }

  remove(id: number): void {
    const thing = this.#things.get(id);
    if (thing === undefined) return;
    this.#mirror?.dropped(id);
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
