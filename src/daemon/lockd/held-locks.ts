/**
 * Takes and gives back locks: the kernel, the keeper, the journal and the table, in the order in which a crash between any
 * two of them leaves no lock that two have, and none that its owner has lost.
 *
 * Taking: lock, table, keep, journal, answer. Keeping is done for all calls of a turn at once, by `commit`, before any
 * of their answers goes out. Giving back: table, journal, unlock, answer; the keeper is told when there is something
 * else to tell it, or when nothing happens.
 *
 * So after a crash what the keeper has and the journal has not was given back, or nobody was told that he has it; and
 * what the journal has and the keeper has not was lost by the keeper.
 */
import { closeDescriptor } from '../../system/descriptors.js';
import type { Channel, Kept } from '../keeper/channel.js';
import { recordBytesMax } from '../keeper/keep-message.js';
import type { Journal, ReadJournal } from './journal.js';
import { giveLockFileBack, isRemoved, lockBytes, takeLockFile, type LockFileFailure } from './lock-file.js';
import { RecordReader, writeLockRecord, writeLockspaceRecord, type RecordedLock } from './lock-record.js';
import type { Lock, LockTable, LockdOwner } from './lock-table.js';

export interface WantedLock {
  readonly lockspace: string;
  readonly name: string;
  readonly shared: boolean;
  readonly autocreate: boolean;
}

export interface HeldLocksOptions {
  readonly table: LockTable;
  readonly channel: Channel;
  /** The journal can be written no more (its file system is full): from now on the keeper alone outlives the daemon. */
  readonly journalFailed: (error: Error) => void;
  /** Somebody has ended the keeper. Whoever gets this end of a new channel has everything; it is to be another keeper. */
  readonly keeperEnded: (end: number) => void;
}

/** What a daemon found when it started. */
export interface TakenUp {
  /** Kept all the time. */
  readonly adopted: number;
  /** Locked again, because nobody was left to keep it. */
  readonly takenAgain: number;
  /** Records of what somebody else has now, or what is not there any more. */
  readonly lost: readonly string[];
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
const uncommitted = -1;
const inNoJournal = 0;
const nobody: readonly LockdOwner[] = [];

export class HeldLocks {
  readonly #table: LockTable;
  readonly #channel: Channel;
  readonly #options: HeldLocksOptions;
  /** Ids by path. */
  readonly #lockspaces = new Map<string, number>();
  #journal: Journal | undefined;
  #lastId = 0;
  readonly #written: Uncommitted[] = [];
  #drops = 0;
  #since = { ms: 0, text: '' };

  constructor(options: HeldLocksOptions) {
    this.#options = options;
    this.#table = options.table;
    this.#channel = options.channel;
  }

  /** A lock that nobody in the table has. Its owner may be told after `commit`. */
  take(wanted: WantedLock, owner: LockdOwner): Lock | LockFileFailure {
    const { lockspace, name, shared, autocreate } = wanted;
    const path = pathOf(lockspace, name);
    const fd = takeLockFile({ path, shared, autocreate, inLockspace: lockspace !== '' });
    if (typeof fd !== 'number') return fd;
    const owners = [owner];
    const lock: Lock = {
      id: ++this.#lastId,
      lockspace,
      name,
      shared,
      autocreated: autocreate,
      fd,
      since: this.#now(),
      owners,
      doubtful: owners,
      entry: uncommitted,
    };
    this.#table.add(lock);
    this.#keep(lock);
    return lock;
  }

  /**
   * The same lock with other owners, at least one. They may be told after `commit`. False: there are more of them than
   * can be written down, and nothing has changed.
   */
  changeOwners(lock: Lock, owners: readonly LockdOwner[], doubtful: readonly LockdOwner[] = nobody): boolean {
    const record = writeLockRecord({ ...lock, owners });
    if (record.length * 3 > recordBytesMax && Buffer.byteLength(record) > recordBytesMax) return false;
    if (lock.entry === uncommitted) this.commit();
    this.#table.changeOwners(lock, owners);
    lock.doubtful = doubtful;
    this.#makeRoom(record);
    this.#channel.updateLater(lock.id, record);
    this.#wrote(lock.id, lock);
    return true;
  }

  /** Who of the owners may not have had the answer that they have the lock. */
  setDoubtful(lock: Lock, doubtful: readonly LockdOwner[]): void {
    lock.doubtful = doubtful;
    if (lock.entry > inNoJournal) this.#journal?.setUnanswered(lock.entry, doubtful.length > 0);
  }

  /** A lockspace that somebody has made. */
  addLockspace(path: string): void {
    this.#table.addLockspace(path);
    if (this.#lockspaces.has(path)) return;
    const id = ++this.#lastId;
    this.#lockspaces.set(path, id);
    const record = writeLockspaceRecord(path);
    this.#makeRoom(record);
    this.#channel.keepLater(id, record, []);
    this.#wrote(id, undefined);
  }

  giveBack(lock: Lock): void {
    if (lock.entry === uncommitted) this.commit();
    this.#table.remove(lock);
    if (lock.entry > inNoJournal) this.#journal?.remove(lock.entry);
    lock.entry = inNoJournal;
    this.#drop(lock.id);
    giveLockFileBack(lock.fd, pathOf(lock.lockspace, lock.name), lock.shared, lock.autocreated);
  }

  /** After it, what was taken and changed outlives this process. */
  commit(): void {
    if (this.#written.length === 0) return;
    const { writer } = this.#channel;
    this.#tell();
    for (const { lock, id, start, end } of this.#written) {
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

  /**
   * Takes up what was held before: to be called once, before anything else.
   *
   * What the keeper has is locked all the time. What a sound journal says on top of it was lost by the keeper, and is
   * locked again if its owner still lives.
   */
  takeUp(
    kept: readonly Kept[],
    journal: ReadJournal | undefined,
    lives: (owner: LockdOwner) => boolean,
  ): TakenUp {
    const lost: string[] = [];
    let adopted = 0;
    const reader = new RecordReader();
    for (const one of kept) {
      this.#lastId = Math.max(this.#lastId, one.id);
      const outcome = this.#adopt(one, journal, reader);
      if (outcome === 'adopted') adopted++;
      if (outcome === 'lost') lost.push(one.record);
    }
    const known = new Set(kept.map(({ id }) => id));
    const missing = [...(journal?.held ?? [])].filter(([id]) => !known.has(id));
    for (const [id] of missing) this.#lastId = Math.max(this.#lastId, id);
    let takenAgain = 0;
    for (const [, { record, unanswered }] of missing) {
      const outcome = this.#takeAgain(record, unanswered, lives, reader);
      if (outcome === 'taken') takenAgain++;
      if (outcome === 'lost') lost.push(record);
    }
    this.tellKeeper();
    return { adopted, takenAgain, lost };
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
    this.#journal?.publish();
  }

  #adopt(
    { id, record, descriptors }: Kept,
    journal: ReadJournal | undefined,
    reader: RecordReader,
  ): 'adopted' | 'given back' | 'lost' {
    const [fd] = descriptors;
    // One entry that is not whole is the one that was being written.
    const isSound = journal !== undefined && journal.damaged <= 1;
    const written = isSound ? journal.held.get(id) : undefined;
    const said = reader.read(written?.record ?? record);
    if (said !== undefined && 'madeLockspace' in said) {
      this.#table.addLockspace(said.madeLockspace);
      this.#lockspaces.set(said.madeLockspace, id);
      return 'given back';
    }
    const locked = fd !== undefined && said !== undefined && lockBytes(fd, said.lock.shared);
    if (locked && (written !== undefined || !isSound) && this.#isNew(said.lock)) {
      const { owners } = said.lock;
      const unsure = written === undefined ? owners : written.unanswered ? owners.slice(-1) : nobody;
      this.#table.add({ ...said.lock, id, fd, doubtful: unsure, survived: true, entry: inNoJournal });
      if (written !== undefined && written.record !== record) this.#channel.updateLater(id, written.record);
      return 'adopted';
    }
    this.#drop(id);
    if (locked) {
      const { lockspace, name, shared, autocreated } = said.lock;
      // What was removed already may be another's file by now.
      giveLockFileBack(fd, pathOf(lockspace, name), shared, autocreated && !isRemoved(fd));
    } else if (fd !== undefined) closeDescriptor(fd);
    return isSound && written === undefined ? 'given back' : 'lost';
  }

  #takeAgain(
    record: string,
    unanswered: boolean,
    lives: (owner: LockdOwner) => boolean,
    reader: RecordReader,
  ): 'taken' | 'not wanted' | 'lost' {
    const said = reader.read(record);
    if (said === undefined) return 'lost';
    if ('madeLockspace' in said) {
      this.addLockspace(said.madeLockspace);
      return 'not wanted';
    }
    const { lockspace, name, shared, autocreated } = said.lock;
    const owners = said.lock.owners.filter(lives);
    if (owners.length === 0 || !this.#isNew(said.lock)) return 'not wanted';
    const path = pathOf(lockspace, name);
    const fd = takeLockFile({ path, shared, autocreate: autocreated, inLockspace: lockspace !== '' });
    if (typeof fd !== 'number') return 'lost';
    const doubtful = unanswered ? owners.slice(-1) : nobody;
    const id = ++this.#lastId;
    const lock: Lock = { ...said.lock, owners, id, fd, doubtful, survived: true, entry: uncommitted };
    this.#table.add(lock);
    this.#keep(lock);
    return 'taken';
  }

  #isNew({ lockspace, name }: RecordedLock): boolean {
    return this.#table.get(lockspace, name) === undefined;
  }

  #keep(lock: Lock): void {
    const record = writeLockRecord(lock);
    this.#makeRoom(record);
    this.#channel.keepLater(lock.id, record, [lock.fd]);
    this.#wrote(lock.id, lock);
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

  #drop(id: number): void {
    this.#makeRoom('');
    this.#channel.dropLater(id);
    if (++this.#drops >= dropsMax) this.tellKeeper();
  }

  #tell(): void {
    this.#channel.commit();
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

  /** Whole seconds, for all locks of a second the same text. */
  #now(): string {
    const ms = Date.now();
    if (ms - this.#since.ms >= 1000 || ms < this.#since.ms) {
      const second = ms - (ms % 1000);
      this.#since = { ms: second, text: `${new Date(second).toISOString().slice(0, 19)}Z` };
    }
    return this.#since.text;
  }
}

export function pathOf(lockspace: string, name: string): string {
  return lockspace === '' ? name : `${lockspace}/${name}`;
}
