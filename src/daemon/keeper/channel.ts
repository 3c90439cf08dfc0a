/**
 * A thread of the daemon and its keeper: what is kept survives the daemon.
 *
 * Invariant: when `keep`, `update` or `commit` return, the descriptors are in the queue of the keeper's socket, so their
 * locks are held even if this process ends at the next instruction. Nothing waits for the keeper to have read them.
 *
 * Where somebody has ended the keeper, what is held is held by this process, and by the journal: still better than to give
 * it up, or to refuse to give it back. `renew` makes a channel for the keeper that takes its place.
 */
import { closeSync } from 'node:fs';
import { messageSocketPair, setSendBuffer } from '../../system/unix-socket.js';
import { keepKind, KeepReader, KeepWriter, type KeepKind } from './keep-message.js';

/** Something that outlived an earlier daemon. */
export interface Kept {
  readonly id: number;
  readonly record: string;
  readonly descriptors: readonly number[];
}

/** Of messages that the keeper has not read yet: some thousands. */
export const queueBytes = 8 * 1024 * 1024;

export class Channel {
  #fd: number;
  #writer: KeepWriter;
  #keeperEnded = false;
  readonly #kept: Map<number, Kept> | undefined;
  #first: readonly Kept[] | undefined;

  /** @param remember what is kept, for `renew`; whoever has another list of it saves the memory. */
  constructor(fd: number, remember = false) {
    this.#fd = fd;
    this.#kept = remember ? new Map() : undefined;
    setSendBuffer(fd, queueBytes);
    this.#writer = new KeepWriter(fd);
  }

  /** Readable when the keeper has ended, after `takeKept`. Another one after `renew`. */
  get fd(): number {
    return this.#fd;
  }

  /**
   * What the keeper has: to be called before anything else, and as often as it is wanted until then. Blocks until all of it
   * is there.
   */
  takeKept(): readonly Kept[] {
    return (this.#first ??= this.#readKept());
  }

  #readKept(): Kept[] {
    const kept = new Map<number, { id: number; record: string; descriptors: number[] }>();
    const reader = new KeepReader(this.#fd, closeSync);
    let whole = false;
    while (!whole) {
      const read = reader.read(true, ({ kind, id, record, descriptors }) => {
        if (kind === keepKind.keep)
          kept.set(id, { id, record: record.toString(), descriptors: [...descriptors] });
        else if (kind === keepKind.more) kept.get(id)?.descriptors.push(...descriptors);
        else whole ||= kind === keepKind.end;
      });
      if (read === false) throw new Error('the keeper closed the channel before it had given all');
    }
    for (const one of kept.values()) this.#kept?.set(one.id, one);
    return [...kept.values()];
  }

  /** Whether somebody has ended the keeper. */
  get keeperEnded(): boolean {
    return this.#keeperEnded;
  }

  /** What epoll says of `fd`. */
  noticeEnd(): void {
    this.#keeperEnded = true;
    this.#writer.mute();
  }

  keep(id: number, record: string, descriptors: readonly number[]): void {
    this.keepLater(id, record, descriptors);
    this.commit();
  }

  /** The same thing, with another record. */
  update(id: number, record: string): void {
    this.updateLater(id, record);
    this.commit();
  }

  /** The keeper closes its descriptors of it, soon; a lock that has to be free at once is unlocked first. */
  drop(id: number): void {
    this.dropLater(id);
    this.commit();
  }

  /** Nothing of this is safe before `commit`. */
  keepLater(id: number, record: string, descriptors: readonly number[]): void {
    this.#kept?.set(id, { id, record, descriptors });
    this.#add(keepKind.keep, id, record, descriptors);
  }

  updateLater(id: number, record: string): void {
    const known = this.#kept?.get(id);
    if (known !== undefined) this.#kept?.set(id, { ...known, record });
    this.#add(keepKind.update, id, record, []);
  }

  dropLater(id: number): void {
    this.#kept?.delete(id);
    this.#add(keepKind.drop, id, '', []);
  }

  commit(): void {
    this.#first = undefined;
    try {
      this.#writer.commit();
    } catch (error) {
      this.#lost(error);
    }
  }

  /** The message that `commit` would send. */
  get writer(): KeepWriter {
    return this.#writer;
  }

  /**
   * Makes a channel for another keeper, with everything that is kept in its queue. Gives the keeper's end of it, which
   * holds all of it from now on, whoever has it. What is kept is what was remembered, unless it is given.
   */
  renew(kept: Iterable<Kept> = this.#kept?.values() ?? []): number {
    const [end, own] = messageSocketPair();
    setSendBuffer(own, queueBytes);
    closeSync(this.#fd);
    this.#fd = own;
    this.#writer = new KeepWriter(own);
    this.#keeperEnded = false;
    for (const { id, record, descriptors } of [...kept]) this.keepLater(id, record, descriptors);
    this.commit();
    return end;
  }

  #add(kind: KeepKind, id: number, record: string, descriptors: readonly number[]): void {
    try {
      this.#writer.add(kind, id, record, descriptors);
    } catch (error) {
      this.#lost(error);
      this.#writer.add(kind, id, record, descriptors);
    }
  }

  #lost(error: unknown): void {
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
    this.noticeEnd();
  }
}
