/**
 * Locks that are taken in a cluster as well, as the thread of the lock protocol sees them: it has the kernel's lock, asks the
 * main thread for the cluster's, and the call waits for the answer.
 *
 * Taking: the kernel's lock, then the cluster's, then the answer. Giving back: the cluster's, then the kernel's, then the
 * answer. So who has the cluster's lock has the kernel's, and what a crash leaves between the two is more than is needed.
 */
import type { HeldLocks } from './held-locks.js';
import { sameOwner, type Lock, type LockdOwner } from './lock-table.js';

/** What the main thread is asked for. */
export type ClusterWish = {
  readonly owner: LockdOwner;
  readonly lockspace: string;
  readonly name: string;
  readonly shared: boolean;
  readonly token: number;
} & (
  | { readonly wish: 'take' }
  /** Nobody was told that he has it, or he has ended: nobody waits for the answer. */
  | { readonly wish: 'forget' }
  | { readonly wish: 'give back' }
);

/** Why it could not be taken: who has it, in words, or what else. */
export type ClusterRefusal = { readonly by: string } | { readonly why: string };

/** What became of a wish, for the calls that wait. */
export interface ClusterOutcome {
  readonly lock: Lock;
  readonly owner: LockdOwner;
  readonly state: 'taken' | 'refused' | 'withdrawn' | 'given back';
  readonly refusal?: ClusterRefusal;
}

interface Pending {
  readonly lock: Lock;
  readonly owner: LockdOwner;
  readonly token: number;
  readonly wish: 'take' | 'give back';
}

export interface ClusterCallsOptions {
  readonly held: HeldLocks;
  readonly tell: (wish: ClusterWish) => void;
  /** The calls that wait for this token can be answered. */
  readonly settled: (token: number, outcome: ClusterOutcome) => void;
}

export class ClusterCalls {
  readonly #options: ClusterCallsOptions;
  readonly #pending = new Map<number, Pending>();
  #lastToken = 0;

  constructor(options: ClusterCallsOptions) {
    this.#options = options;
  }

  /** What this owner's lock is waiting for. */
  pendingFor(lock: Lock, owner: LockdOwner): Pending | undefined {
    if (this.#pending.size === 0) return undefined;
    for (const one of this.#pending.values()) {
      if (one.lock === lock && sameOwner(one.owner, owner)) return one;
    }
    return undefined;
  }

  /** Asks for a lock of which the owner has the kernel's part; gives what the call waits for. */
  take(lock: Lock, owner: LockdOwner): number {
    return this.#wish('take', lock, owner);
  }

  /** Gives back a lock in the cluster; the kernel's goes after it. */
  giveBack(lock: Lock, owner: LockdOwner): number {
    return this.#wish('give back', lock, owner);
  }

  /** The owner does not want any more what nobody has told it that it has. */
  withdraw({ token, lock, owner }: Pending): void {
    this.#pending.delete(token);
    this.#tell('forget', lock, owner, token);
    this.#options.settled(token, { lock, owner, state: 'withdrawn' });
  }

  /** A process has ended that had this lock, or waited for it. */
  ownerEnded(lock: Lock, owner: LockdOwner): void {
    const pending = this.pendingFor(lock, owner);
    if (pending === undefined) this.#tell('forget', lock, owner, ++this.#lastToken);
    else this.withdraw(pending);
  }

  /** The main thread's answer; for what was withdrawn meanwhile there is nobody to tell. */
  answered(token: number, refusal: ClusterRefusal | undefined): void {
    const pending = this.#pending.get(token);
    if (pending === undefined) return;
    this.#pending.delete(token);
    const { lock, owner, wish } = pending;
    const state = wish === 'give back' ? 'given back' : refusal === undefined ? 'taken' : 'refused';
    if (state !== 'taken') this.#drop(lock, owner, state === 'refused');
    this.#options.settled(token, { lock, owner, state, ...(refusal === undefined ? {} : { refusal }) });
  }

  #drop(lock: Lock, owner: LockdOwner, all: boolean): void {
    const { held } = this.#options;
    const index = lock.owners.findIndex((one) => sameOwner(one, owner));
    const left = lock.owners.filter((one, at) => (all ? !sameOwner(one, owner) : at !== index));
    if (left.length === 0) held.giveBack(lock);
    else
      held.changeOwners(
        lock,
        left,
        lock.doubtful.filter((one) => left.includes(one)),
      );
  }

  #wish(wish: 'take' | 'give back', lock: Lock, owner: LockdOwner): number {
    const token = ++this.#lastToken;
    this.#pending.set(token, { lock, owner, token, wish });
    this.#tell(wish, lock, owner, token);
    return token;
  }

  #tell(wish: ClusterWish['wish'], lock: Lock, owner: LockdOwner, token: number): void {
    const { lockspace, name, shared } = lock;
    this.#options.tell({ wish, owner, lockspace, name, shared, token });
  }
}
