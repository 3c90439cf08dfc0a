/**
 * Takes and gives back locks: the kernel, the table, the keeper and the journal, in the order in which a crash between any
 * two of them leaves no lock that two have, and none that its owner has lost.
 *
 * Taking: lock, table, keep, journal, answer. Keeping is done for all calls of a turn at once, by `commit`, before any
 * of their answers goes out. Giving back: table, journal, unlock, answer; the keeper is told when there is something
 * else to tell it, or when nothing happens.
 */
import type { Kept } from '../keeper/channel.js';
import type { Journal, ReadJournal } from './journal.js';
import { giveLockFileBack, pathOf, takeLockFile, type LockFileFailure } from './lock-file.js';
import { LockKeeping, uncommitted, type LockKeepingOptions } from './lock-keeping.js';
import type { Lock, LockTable, LockdOwner } from './lock-table.js';
import { takeUp, type TakenUp } from './take-up.js';

export interface WantedLock {
  readonly lockspace: string;
  readonly name: string;
  readonly shared: boolean;
  readonly autocreate: boolean;
}

const nobody: readonly LockdOwner[] = [];

export class HeldLocks {
  readonly #options: LockKeepingOptions;
  readonly #table: LockTable;
  readonly #keeping: LockKeeping;
  #since = { ms: 0, text: '' };

  constructor(options: LockKeepingOptions) {
    this.#options = options;
    this.#table = options.table;
    this.#keeping = new LockKeeping(options);
  }

  /** A lock that nobody in the table has. Its owner may be told after `commit`. */
  take(wanted: WantedLock, owner: LockdOwner): Lock | LockFileFailure {
    const { lockspace, name, shared, autocreate } = wanted;
    const path = pathOf(lockspace, name);
    const fd = takeLockFile({ path, shared, autocreate, inLockspace: lockspace !== '' });
    if (typeof fd !== 'number') return fd;
    const owners = [owner];
    const lock: Lock = {
      id: this.#keeping.newId(),
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
    this.#keeping.keep(lock);
    return lock;
  }

  /**
   * The same lock with other owners, at least one. They may be told after `commit`. False: there are more of them than
   * can be written down, and nothing has changed.
   */
  changeOwners(lock: Lock, owners: readonly LockdOwner[], doubtful: readonly LockdOwner[] = nobody): boolean {
    const record = this.#keeping.recordOf(lock, owners);
    if (record === undefined) return false;
    if (lock.entry === uncommitted) this.commit();
    this.#table.changeOwners(lock, owners);
    lock.doubtful = doubtful;
    this.#keeping.update(lock, record);
    return true;
  }

  /** Who of the owners may not have had the answer that they have the lock. */
  setDoubtful(lock: Lock, doubtful: readonly LockdOwner[]): void {
    lock.doubtful = doubtful;
    this.#keeping.writeDoubt(lock);
  }

  /** A lockspace that somebody has made. */
  addLockspace(path: string): void {
    this.#table.addLockspace(path);
    this.#keeping.addLockspace(path);
  }

  giveBack(lock: Lock): void {
    if (lock.entry === uncommitted) this.commit();
    this.#table.remove(lock);
    this.#keeping.forget(lock);
    giveLockFileBack(lock.fd, pathOf(lock.lockspace, lock.name), lock.shared, lock.autocreated);
  }

  /** After it, what was taken and changed outlives this process. */
  commit(): void {
    this.#keeping.commit();
  }

  /** Whether the keeper has still to be told of the end of a lock. */
  get owesKeeper(): boolean {
    return this.#keeping.owesKeeper;
  }

  tellKeeper(): void {
    this.#keeping.tellKeeper();
  }

  /** Takes up what was held before: to be called once, before anything else. */
  takeUp(
    kept: readonly Kept[],
    journal: ReadJournal | undefined,
    lives: (owner: LockdOwner) => boolean,
  ): TakenUp {
    return takeUp({ ...this.#options, keeping: this.#keeping, kept, journal, lives });
  }

  /** From now on everything stands in this journal, which takes the place of the one before. */
  startJournal(journal: Journal): void {
    this.#keeping.startJournal(journal);
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
