/**
 * Takes and gives back locks: the kernel, the keeper, the journal and the table, in the order in which a crash between any
 * two of them leaves no lock that two have, and none that its owner has lost.
 *
 * Taking: lock, keep, table, journal; then the answer goes out. Giving back: journal and keeper first, then unlock:
 * after a crash in between this process's descriptor is closed, and nobody else's record says that it is held.
 */
import type { Channel, Kept } from '../keeper/channel.js';
import type { Journal } from './journal.js';
import { giveLockFileBack, lockBytes, takeLockFile, type LockFileFailure } from './lock-file.js';
import { type Lock, type LockTable, type LockdOwner } from './lock-table.js';

/** What stands in the keeper and the journal. Fields are added, never changed. */
interface LockRecord {
  readonly v: 1;
  readonly lockspace: string;
  readonly name: string;
  readonly shared: boolean;
  readonly autocreated: boolean;
  readonly since: string;
  readonly owners: readonly LockdOwner[];
}

/** The same of a lockspace: libvirt makes its own only when it starts, so they outlive the daemon as well. */
interface LockspaceRecord {
  readonly v: 1;
  readonly madeLockspace: string;
}

export interface WantedLock {
  readonly lockspace: string;
  readonly name: string;
  readonly shared: boolean;
  readonly autocreate: boolean;
}

export class HeldLocks {
  readonly #table: LockTable;
  readonly #channel: Channel;
  readonly #journal: () => Journal;
  /** Ids by path. */
  readonly #lockspaces = new Map<string, number>();
  #lastId = 0;

  /** @param journal made after everything that was held before has been taken up again. */
  constructor(table: LockTable, channel: Channel, journal: () => Journal) {
    this.#table = table;
    this.#channel = channel;
    this.#journal = journal;
  }

  /** A lock that nobody in the table has. */
  take(wanted: WantedLock, owner: LockdOwner): Lock | LockFileFailure {
    const { lockspace, name, shared, autocreate } = wanted;
    const fd = takeLockFile({
      path: pathOf(lockspace, name),
      shared,
      autocreate,
      inLockspace: lockspace !== '',
    });
    if (typeof fd !== 'number') return fd;
    const lock: Lock = {
      id: ++this.#lastId,
      lockspace,
      name,
      shared,
      autocreated: autocreate,
      fd,
      since: new Date().toISOString(),
      owners: [owner],
      doubtful: false,
    };
    const record = recordOf(lock);
    this.#channel.keep(lock.id, record, [fd]);
    // A journal that has grown too large is written anew from the table.
    this.#table.set(lock);
    this.#journal().held(lock.id, record);
    return lock;
  }

  /** The same lock with other owners, or without doubt: at least one owner. */
  change(lock: Lock, change: Partial<Pick<Lock, 'owners' | 'doubtful'>>): void {
    const next = { ...lock, ...change };
    this.#table.set(next);
    if (change.owners === undefined) return;
    const record = recordOf(next);
    this.#channel.update(lock.id, record);
    this.#journal().held(lock.id, record);
  }

  /** A lockspace that somebody has made. */
  addLockspace(path: string): void {
    this.#table.addLockspace(path);
    if (this.#lockspaces.has(path)) return;
    const id = ++this.#lastId;
    const record = lockspaceRecordOf(path);
    this.#channel.keep(id, record, []);
    this.#lockspaces.set(path, id);
    this.#journal().held(id, record);
  }

  /** What a journal that starts anew has to say, with the ids of the keeper. */
  *records(): Generator<readonly [id: number, record: string]> {
    for (const [path, id] of this.#lockspaces) yield [id, lockspaceRecordOf(path)];
    for (const lock of this.#table.locks()) yield [lock.id, recordOf(lock)];
  }

  giveBack(lock: Lock): void {
    this.#table.remove(lock);
    this.#journal().free(lock.id);
    this.#channel.drop(lock.id);
    giveLockFileBack(lock.fd, pathOf(lock.lockspace, lock.name), lock.shared, lock.autocreated);
  }

  /**
   * Takes up what the keeper kept. It is locked all the time, unless the daemon ended just as it was given back: then
   * it is locked again, or else forgotten. Gives how many there are, and the locks that somebody else has now.
   */
  adopt(kept: readonly Kept[]): { readonly adopted: number; readonly lost: readonly string[] } {
    const lost: string[] = [];
    let adopted = 0;
    for (const { id, record, descriptors } of kept) {
      this.#lastId = Math.max(this.#lastId, id);
      const [fd] = descriptors;
      const parsed = parseRecord(record);
      if (parsed !== undefined && 'madeLockspace' in parsed) {
        this.#table.addLockspace(parsed.madeLockspace);
        this.#lockspaces.set(parsed.madeLockspace, id);
        continue;
      }
      const said = parsed;
      if (fd === undefined || said === undefined || !lockBytes(fd, said.shared)) {
        lost.push(record);
        this.#channel.drop(id);
        continue;
      }
      this.#table.set({ ...lockOf(id, said, fd), doubtful: true });
      adopted++;
    }
    return { adopted, lost };
  }

  /** Takes again what the journal says was held when nobody was left to keep it. */
  takeAgain(records: Iterable<string>): {
    readonly taken: readonly Lock[];
    readonly lost: readonly string[];
  } {
    const taken: Lock[] = [];
    const lost: string[] = [];
    for (const text of records) {
      const parsed = parseRecord(text);
      if (parsed !== undefined && 'madeLockspace' in parsed) {
        const id = ++this.#lastId;
        this.#channel.keep(id, text, []);
        this.#table.addLockspace(parsed.madeLockspace);
        this.#lockspaces.set(parsed.madeLockspace, id);
        continue;
      }
      const said = parsed;
      const fd =
        said === undefined
          ? undefined
          : takeLockFile({
              path: pathOf(said.lockspace, said.name),
              shared: said.shared,
              autocreate: said.autocreated,
              inLockspace: said.lockspace !== '',
            });
      if (said === undefined || typeof fd !== 'number') {
        lost.push(text);
        continue;
      }
      const lock = { ...lockOf(++this.#lastId, said, fd), doubtful: true };
      this.#channel.keep(lock.id, recordOf(lock), [fd]);
      this.#table.set(lock);
      taken.push(lock);
    }
    return { taken, lost };
  }
}

function recordOf({ lockspace, name, shared, autocreated, since, owners }: Lock): string {
  const record: LockRecord = { v: 1, lockspace, name, shared, autocreated, since, owners };
  return JSON.stringify(record);
}

function lockspaceRecordOf(path: string): string {
  const record: LockspaceRecord = { v: 1, madeLockspace: path };
  return JSON.stringify(record);
}

export function pathOf(lockspace: string, name: string): string {
  return lockspace === '' ? name : `${lockspace}/${name}`;
}

function lockOf(id: number, said: LockRecord, fd: number): Omit<Lock, 'doubtful'> {
  const { lockspace, name, shared, autocreated, since, owners } = said;
  return { id, lockspace, name, shared, autocreated, fd, since, owners };
}

/** Written by a daemon of this or another version; what is not of this form is no lock. */
function parseRecord(text: string): LockRecord | LockspaceRecord | undefined {
  let said: Partial<LockRecord & LockspaceRecord>;
  try {
    said = JSON.parse(text) as Partial<LockRecord & LockspaceRecord>;
  } catch {
    return undefined;
  }
  const { v, lockspace, name, owners, since, madeLockspace } = said;
  if (v === 1 && typeof madeLockspace === 'string') return { v, madeLockspace };
  const whole =
    v === 1 &&
    typeof lockspace === 'string' &&
    typeof name === 'string' &&
    typeof said.shared === 'boolean' &&
    typeof said.autocreated === 'boolean' &&
    typeof since === 'string' &&
    Array.isArray(owners) &&
    owners.length > 0 &&
    owners.every(isOwner);
  return whole ? (said as LockRecord) : undefined;
}

function isOwner(owner: Partial<LockdOwner> | null): boolean {
  return (
    typeof owner?.uuid === 'string' &&
    typeof owner.name === 'string' &&
    [owner.id, owner.pid, owner.startTime].every(Number.isSafeInteger)
  );
}
