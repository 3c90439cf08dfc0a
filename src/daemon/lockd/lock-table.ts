/**
 * What is held through libvirt's lock protocol: lockspaces, locks and their owners, as virtlockd counts them. No system
 * calls: what the kernel says is decided elsewhere and told to this table.
 *
 * - A lockspace is a directory that somebody created; '' is the direct one, where the name is the path of a disk, and is
 *   always there.
 * - An exclusive lock has one owner; a shared one has a list, with an owner as often in it as it has acquired.
 */

export interface LockdOwner {
  /** 32 hexadecimal digits. */
  readonly uuid: string;
  readonly name: string;
  readonly id: number;
  readonly pid: number;
  /** Clock ticks after boot: with the pid it names a process for good. */
  readonly startTime: number;
}

/** A lock that is held. What changes of it is changed by `HeldLocks` alone. */
export interface Lock {
  /** In the keeper and the journal. */
  readonly id: number;
  readonly lockspace: string;
  readonly name: string;
  readonly shared: boolean;
  /** Its file was made for it, and goes with it. */
  readonly autocreated: boolean;
  readonly fd: number;
  /** ISO 8601, UTC, whole seconds: since when the first of them holds. */
  readonly since: string;
  owners: readonly LockdOwner[];
  /**
   * Who of the owners may not know that they have it: the answer got lost, because this daemon or the connection ended.
   * They may ask again, and get it; anyone else who asks twice has one disk twice.
   */
  doubtful: readonly LockdOwner[];
  /** An earlier daemon took it: its owner may have given it back to nobody, while none ran. */
  readonly survived?: boolean;
  /** When its owner asked again for what survived, in milliseconds of `monotonicMs`. */
  askedAgainMs?: number;
  /** Where it stands in the journal, for `HeldLocks`. */
  entry: number;
}

export function sameOwner(a: LockdOwner, b: LockdOwner): boolean {
  return a.pid === b.pid && a.startTime === b.startTime && a.uuid === b.uuid;
}

export class LockTable {
  readonly #lockspaces = new Map<string, Map<string, Lock>>([['', new Map()]]);
  readonly #byOwner = new Map<number, Set<Lock>>();
  #count = 0;

  get size(): number {
    return this.#count;
  }

  hasLockspace(path: string): boolean {
    return this.#lockspaces.has(path);
  }

  addLockspace(path: string): void {
    if (!this.#lockspaces.has(path)) this.#lockspaces.set(path, new Map());
  }

  get(lockspace: string, name: string): Lock | undefined {
    return this.#lockspaces.get(lockspace)?.get(name);
  }

  *locks(): Generator<Lock> {
    for (const locks of this.#lockspaces.values()) yield* locks.values();
  }

  /** Adds a lock of a name that none has. The lockspace is made where it is missing. */
  add(lock: Lock): void {
    this.addLockspace(lock.lockspace);
    const locks = this.#lockspaces.get(lock.lockspace);
    if (locks === undefined || locks.has(lock.name)) throw new Error(`${lock.name} is in the table already`);
    locks.set(lock.name, lock);
    this.#count++;
    this.#own(lock);
  }

  changeOwners(lock: Lock, owners: readonly LockdOwner[]): void {
    this.#disown(lock);
    lock.owners = owners;
    this.#own(lock);
  }

  remove(lock: Lock): void {
    if (this.#lockspaces.get(lock.lockspace)?.delete(lock.name) !== true) return;
    this.#count--;
    this.#disown(lock);
  }

  /** What a process holds, whoever else does. */
  heldBy(pid: number): readonly Lock[] {
    return [...(this.#byOwner.get(pid) ?? [])];
  }

  holdsAny(pid: number): boolean {
    return this.#byOwner.has(pid);
  }

  #own(lock: Lock): void {
    for (const { pid } of lock.owners) {
      const own = this.#byOwner.get(pid);
      if (own === undefined) this.#byOwner.set(pid, new Set([lock]));
      else own.add(lock);
    }
  }

  #disown(lock: Lock): void {
    for (const { pid } of lock.owners) {
      const own = this.#byOwner.get(pid);
      own?.delete(lock);
      if (own?.size === 0) this.#byOwner.delete(pid);
    }
  }
}
