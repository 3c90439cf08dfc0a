/**
 * A thread of the daemon and its keeper: what is kept survives the daemon.
 *
 * Invariant: when `keep`, `update` or `commit` return, the descriptors are in the queue of the keeper's socket, so their
 * locks are held even if this process ends at the next instruction. Nothing waits for the keeper to have read them.
 *
 * Where somebody has ended the keeper, what is held is held by this process, and by the journal: still better than to give
 * it up, or to refuse to give it back. `renew` makes a channel for the keeper that takes its place.
 *
 * The queue of a keeper that stands still (SIGSTOP, a debugger) is full at some time. Who waits for such a one has everybody
 * wait who wants a lock: so it is woken, and one that does not read then either counts as ended, and is to be ended.
 */
import { closeSync } from 'node:fs';
import { messageSocketPair, setSendBuffer, setSendTimeout } from '../../system/unix-socket.js';
import { keepKind, KeepReader, KeepWriter, staysFull, type KeepKind } from './keep-message.js';

/** Something that outlived an earlier daemon. */
export interface Kept {
  readonly id: number;
  readonly record: string;
  readonly descriptors: readonly number[];
}

/** Of messages that the keeper has not read yet: some thousands. */
export const queueBytes = 8 * 1024 * 1024;
/** A keeper reads 50 ms after something has come. */
const roomMsMax = 5_000;

export interface ChannelOptions {
  /** What is kept, for `renew`; whoever has another list of it saves the memory. */
  readonly remember?: boolean;
  /**
   * The keeper has read nothing for so long that its queue is full. `again`: so it was when this was said before, the keeper
   * counts as ended, and what is held is to be given to another one; else it is waited for once more.
   */
  readonly standsStill?: (again: boolean) => void;
  /** How long there may be no room, in whole seconds, twice. */
  readonly roomMs?: number;
}

export class Channel {
  readonly #options: ChannelOptions;
  #fd: number;
  #writer: KeepWriter;
  #keeperEnded = false;
  readonly #kept: Map<number, Kept> | undefined;
  #first: readonly Kept[] | undefined;

  constructor(fd: number, options: ChannelOptions = {}) {
    this.#options = options;
    this.#fd = fd;
    this.#kept = options.remember === true ? new Map() : undefined;
    setSendBuffer(fd, queueBytes);
    this.#writer = this.#patientWriter();
  }

  #patientWriter(): KeepWriter {
    const { standsStill, roomMs = roomMsMax } = this.#options;
    setSendTimeout(this.#fd, roomMs);
    const isFull = (): number => {
      standsStill?.(false);
      return this.#fd;
    };
    return new KeepWriter(this.#fd, { waits: true, isFull });
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
   * Makes a channel for another keeper, with everything that is kept in its queue. Gives the keeper's ends, which hold all
   * of it from now on, whoever has them: to be read in their order. The last one is the channel; those before it are there
   * where a queue has no room for all (a user's own is small), because nobody reads yet. What is kept is what was
   * remembered, unless it is given.
   */
  renew(kept: Iterable<Kept> = this.#kept?.values() ?? []): readonly number[] {
    const ends: number[] = [];
    const another = (): number => {
      const [end, own] = messageSocketPair();
      closeSync(this.#fd);
      setSendBuffer(own, queueBytes);
      ends.push(end);
      this.#fd = own;
      return own;
    };
    this.#writer = new KeepWriter(another(), { waits: false, isFull: another });
    this.#keeperEnded = false;
    for (const { id, record, descriptors } of [...kept]) this.keepLater(id, record, descriptors);
    this.commit();
    if (!this.#keeperEnded) this.#writer = this.#patientWriter();
    return ends;
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
    const full = staysFull(error);
    if (!full && (error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
    this.noticeEnd();
    if (full) this.#options.standsStill?.(true);
  }
}
