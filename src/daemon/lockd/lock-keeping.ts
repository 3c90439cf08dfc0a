/**
 * Where it stands what is held: with the keeper, and in the journal.
 *
 * What is new or has changed goes into one message to the keeper, and with `commit` out, then into the journal. So after a
 * crash what the keeper has and the journal has not was given back, or nobody was told that he has it; and what the journal
 * has and the keeper has not was lost by the keeper.
 */
import type { Channel, Kept } from '../keeper/channel.js';
import { recordBytesMax } from '../keeper/keep-message.js';
import type { Journal } from './journal.js';
import { writeLockRecord, writeLockspaceRecord } from './lock-record.js';
import type { Lock, LockTable } from './lock-table.js';

export interface LockKeepingOptions {
  readonly table: LockTable;
  readonly channel: Channel;
  /** The journal can be written no more (its file system is full): from now on the keeper alone outlives the daemon. */
  readonly journalFailed: (error: Error) => void;
  /** Somebody has ended the keeper. Whoever gets these ends of a new channel has everything; it is to be another keeper. */
  readonly keeperEnded: (ends: readonly number[]) => void;
}

/** What stands in the message to the keeper and not yet in the journal: where its record is. */
interface Uncommitted {
  /** Undefined: a lockspace. */
  readonly lock: Lock | undefined;
  readonly id: number;
  readonly start: number;
  readonly end: number;
}

/** So many ends of locks may wait until the keeper is told. */
const dropsMax = 64;
/** In the place of where a lock stands in the journal. */
export const uncommitted = -1;
export const inNoJournal = 0;
/** The same, of a lock that has ended. */
const ended = -2;

export class LockKeeping {
  readonly #options: LockKeepingOptions;
  readonly #table: LockTable;
  readonly #channel: Channel;
  /** Ids by path. */
  readonly #lockspaces = new Map<string, number>();
  /** What another build wrote and this one cannot read: it stays as it is. */
  readonly #notUnderstood: Kept[] = [];
  #journal: Journal | undefined;
  #lastId = 0;
  readonly #written: Uncommitted[] = [];
  #drops = 0;
  #failure: unknown;

  constructor(options: LockKeepingOptions) {
    this.#options = options;
    this.#table = options.table;
    this.#channel = options.channel;
  }

  newId(): number {
    return ++this.#lastId;
  }

  /** Ids of a daemon before: new ones come after them. */
  useNoIdUpTo(id: number): void {
    this.#lastId = Math.max(this.#lastId, id);
  }

  /** A lock that is new. */
  keep(lock: Lock): void {
    const record = writeLockRecord(lock);
    this.#makeRoom(record);
    this.#channel.keepLater(lock.id, record, [lock.fd]);
    this.#wrote(lock.id, lock);
  }

  /** A lock whose record is another one now. */
  update(lock: Lock, record: string): void {
    this.#makeRoom(record);
    this.#channel.updateLater(lock.id, record);
    this.#wrote(lock.id, lock);
  }

  /** The record of a lock with other owners; undefined: it is longer than can be written down. */
  recordOf(lock: Lock, owners: Lock['owners']): string | undefined {
    const record = writeLockRecord({ ...lock, owners });
    const tooLong = record.length * 3 > recordBytesMax && Buffer.byteLength(record) > recordBytesMax;
    return tooLong ? undefined : record;
  }

  /** A lock that ends. */
  forget(lock: Lock): void {
    if (lock.entry > inNoJournal) this.#journal?.remove(lock.entry);
    lock.entry = ended;
    this.drop(lock.id);
  }

  /** What the keeper need not have any more. */
  drop(id: number): void {
    this.#makeRoom('');
    this.#channel.dropLater(id);
    if (++this.#drops >= dropsMax) this.tellKeeper();
  }

  addLockspace(path: string): void {
    if (this.#lockspaces.has(path)) return;
    const id = this.newId();
    this.#lockspaces.set(path, id);
    const record = writeLockspaceRecord(path);
    this.#makeRoom(record);
    this.#channel.keepLater(id, record, []);
    this.#wrote(id, undefined);
  }

  /** A lockspace that the keeper has. */
  adoptLockspace(path: string, id: number): void {
    this.#lockspaces.set(path, id);
  }

  /** What the keeper has goes on being kept, descriptors and all. */
  leave(kept: Kept): void {
    this.#notUnderstood.push(kept);
  }

  /** Writes down whether there is an owner who may not have had the answer. */
  writeDoubt(lock: Lock): void {
    if (lock.entry > inNoJournal) this.#journal?.setUnanswered(lock.entry, lock.doubtful.length > 0);
  }

  /** After it, what was taken and changed outlives this process. Where it has thrown once, it does so each time. */
  commit(): void {
    if (this.#written.length === 0) return;
    const { writer } = this.#channel;
    this.#tell();
    for (const { lock, id, start, end } of this.#written) {
      // In the journal it would be one that nobody removes.
      if (lock?.entry === ended) continue;
      const entry = this.#addEntry(id, writer.buffer, start, end, (lock?.doubtful.length ?? 0) > 0);
      if (lock === undefined) continue;
      if (lock.entry > inNoJournal) this.#journal?.remove(lock.entry);
      lock.entry = entry;
    }
    this.#written.length = 0;
    this.#replaceKeeper();
  }

  /** Whether the keeper has still to be told of the end of a lock. */
  get owesKeeper(): boolean {
    return this.#drops > 0;
  }

  tellKeeper(): void {
    this.commit();
    if (this.#drops > 0) this.#tell();
    this.#replaceKeeper();
  }

  /** From now on everything stands in this journal, which takes the place of the one before. */
  startJournal(journal: Journal): void {
    this.commit();
    this.#journal = journal;
    const add = (id: number, record: string, unanswered: boolean): number => {
      const bytes = Buffer.from(record);
      return this.#addEntry(id, bytes, 0, bytes.length, unanswered);
    };
    for (const [path, id] of this.#lockspaces) add(id, writeLockspaceRecord(path), false);
    for (const lock of this.#table.locks()) {
      lock.entry = add(lock.id, writeLockRecord(lock), lock.doubtful.length > 0);
    }
    for (const { id, record } of this.#notUnderstood) add(id, record, true);
    this.#journal?.publish();
  }

  /** Nothing is sent before it is written down here what of it goes to the journal. */
  #makeRoom(record: string): void {
    if (this.#channel.writer.hasRoom(record.length, 1)) return;
    this.commit();
    this.#tell();
  }

  #wrote(id: number, lock: Lock | undefined): void {
    const { recordStart, end } = this.#channel.writer;
    this.#written.push({ lock, id, start: recordStart, end });
  }

  #tell(): void {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      this.#channel.commit();
    } catch (error) {
      // What it was to send is gone: nobody may be told that he has it.
      this.#failure = error;
      throw error;
    }
    this.#drops = 0;
  }

  /** Everything that is held goes into the queue of a new channel at once. */
  #replaceKeeper(): void {
    if (this.#channel.keeperEnded) this.#options.keeperEnded(this.#channel.renew(this.#kept()));
  }

  *#kept(): Generator<Kept> {
    for (const [path, id] of this.#lockspaces) {
      yield { id, record: writeLockspaceRecord(path), descriptors: [] };
    }
    for (const lock of this.#table.locks()) {
      yield { id: lock.id, record: writeLockRecord(lock), descriptors: [lock.fd] };
    }
    yield* this.#notUnderstood;
  }

  #addEntry(id: number, source: Buffer, start: number, end: number, unanswered: boolean): number {
    if (this.#journal === undefined) return inNoJournal;
    try {
      return this.#journal.add(id, source, start, end, unanswered);
    } catch (error) {
      // One that says less than there is would be worse than none.
      this.#journal.discard();
      this.#journal = undefined;
      for (const lock of this.#table.locks()) if (lock.entry > inNoJournal) lock.entry = inNoJournal;
      this.#options.journalFailed(error as Error);
      return inNoJournal;
    }
  }
}
