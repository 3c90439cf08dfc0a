/**
 * The eight procedures of libvirt's lock protocol, as virtlockd does them. What it does differently is for the sake of the
 * disks: see `refused` in answers.ts, and who may ask again for what he has.
 *
 * Who holds is a process: what it holds ends with it.
 */
import { acquireFlag, type LockCall } from '../../protocol/lock-protocol.js';
import type { RpcError } from '../../protocol/rpc-error.js';
import { monotonicMs } from '../../system/clock.js';
import * as answers from './answers.js';
import type { ClusterCalls, ClusterOutcome } from './cluster-calls.js';
import type { HeldLocks } from './held-locks.js';
import { makeLockFile, pathOf, removeLockFile, type LockFileFailure } from './lock-file.js';
import { sameOwner, type Lock, type LockdOwner, type LockTable } from './lock-table.js';
import type { LockdReports } from './lockd-reports.js';
import { makeLockspace } from './lockspace-directory.js';
import type { OwnerWatch } from './owner-watch.js';

/** The connection that a call came on. */
export interface Caller {
  owner: LockdOwner | undefined;
  restricted: boolean;
}

/** What became of a call. */
export interface Outcome {
  /** Undefined: done. */
  readonly error?: RpcError;
  /** What its owner has when the answer has gone out. */
  readonly acquired?: Lock;
  /** Somebody outside has this file, and the answer can wait until it is known who; `pid` has asked for it. */
  readonly heldOutside?: { readonly name: string; readonly path: string; readonly pid: number };
  /** The answer waits for the cluster: `settled` makes it when `ClusterCalls` tells what became of this token. */
  readonly inCluster?: number;
}

export interface ProceduresOptions {
  readonly table: LockTable;
  readonly held: HeldLocks;
  readonly owners: OwnerWatch;
  readonly reports: LockdReports;
  /** Undefined: what the kernel grants is granted. */
  readonly cluster?: ClusterCalls;
}

const done: Outcome = {};
/** It stands in each record of a lock of the guest. */
const guestNameLengthMax = 4096;

/**
 * An owner that asks again for what an earlier daemon gave it is either a guest that was paused while none ran, or one that is
 * being given a disk that it has already. The second is refused by QEMU in a moment, and then libvirt gives back what
 * the guest goes on using: for so long, giving back is not believed. Until its end the guest keeps the lock then.
 */
const askedAgainMsMax = 10 * 60_000;

type CallOf<Name extends LockCall['call']> = LockCall & { readonly call: Name };

export class Procedures {
  readonly #options: ProceduresOptions;

  constructor(options: ProceduresOptions) {
    this.#options = options;
  }

  do(caller: Caller, call: LockCall): Outcome {
    const allowed = call.call === 'acquire' ? acquireFlag.shared | acquireFlag.autocreate : 0;
    if (call.call !== 'createLockspace' && (call.flags & ~allowed) !== 0) {
      return { error: answers.unsupportedFlags(call.flags & ~allowed, call.call) };
    }
    if (caller.restricted) return { error: answers.restricted };
    if (call.call === 'register') return this.#register(caller, call);
    if (call.call === 'createLockspace') return this.#createLockspace(call.path);
    const { owner } = caller;
    if (owner === undefined) return { error: answers.unregistered };
    switch (call.call) {
      case 'acquire':
        return this.#acquire(owner, call);
      case 'release':
        return this.#release(owner, call);
      case 'restrict':
        caller.restricted = true;
        return done;
      case 'newLockspace':
        if (this.#options.table.hasLockspace(call.path)) return { error: answers.lockspaceExists(call.path) };
        return this.#createLockspace(call.path);
      case 'createResource':
      case 'deleteResource':
        return this.#createOrDelete(owner, call);
    }
  }

  /** Of a lock that was taken up: owners that ended while no daemon ran are gone, and so is what they held. */
  watchOwners(lock: Lock): void {
    const { owners } = this.#options;
    const living = lock.owners.filter(({ pid, startTime }) => owners.needExactly(pid, startTime));
    if (living.length < lock.owners.length) this.#changeOwners(lock, living);
  }

  /** The process of an owner has ended. */
  ownerEnded(pid: number): void {
    const { table, reports } = this.#options;
    const locks = table.heldBy(pid);
    for (const lock of locks) {
      const ended = lock.owners.find((owner) => owner.pid === pid);
      this.#changeOwners(
        lock,
        lock.owners.filter((owner) => owner.pid !== pid),
      );
      if (ended !== undefined) this.#options.cluster?.ownerEnded(lock, ended);
    }
    if (locks.length > 0) reports.tell('owner ended', { pid, locks: locks.length });
  }

  /** The answer of a call that waited for the cluster. */
  settled({ lock, owner, state, refusal }: ClusterOutcome): Outcome {
    const { owners, reports } = this.#options;
    const { lockspace, name, shared } = lock;
    const facts = { lockspace, name, shared, guest: owner.name, pid: owner.pid };
    if (state === 'given back') return this.#released(owner, lock);
    if (state === 'taken') {
      reports.often('acquired', () => facts);
      return { acquired: lock };
    }
    owners.noLongerNeeds(owner.pid, owner.startTime);
    if (refusal === undefined) return { error: answers.refused(`'${name}' was given back meanwhile`) };
    reports.tell('refused', { ...facts, ...refusal });
    return {
      error: 'by' in refusal ? answers.isLocked(name, refusal.by) : answers.notInCluster(name, refusal.why),
    };
  }

  /** The connection is closed. */
  callerGone({ owner }: Caller): void {
    if (owner !== undefined) this.#options.owners.noLongerNeeds(owner.pid, owner.startTime);
  }

  #register(caller: Caller, { owner: { uuid, name, id, pid } }: CallOf<'register'>): Outcome {
    if (id === 0) return { error: answers.unregistered };
    if (name.length > guestNameLengthMax)
      return { error: answers.refused('a name of more than 4096 characters') };
    // Nobody would ever know that such an owner has ended.
    if (pid === 0) return { error: noProcess(pid) };
    let startTime: number | undefined;
    try {
      startTime = this.#options.owners.need(pid);
    } catch (error) {
      return { error: answers.cannotWatch(pid, Math.abs((error as NodeJS.ErrnoException).errno ?? 0)) };
    }
    if (startTime === undefined) return { error: noProcess(pid) };
    this.callerGone(caller);
    caller.owner = { uuid: uuid.toString('hex'), name, id, pid, startTime };
    return done;
  }

  #createLockspace(path: string): Outcome {
    const { table, held } = this.#options;
    if (table.hasLockspace(path)) return done;
    const error = makeLockspace(path);
    if (error !== undefined) return { error };
    held.addLockspace(path);
    return done;
  }

  #acquire(owner: LockdOwner, { path: lockspace, name, flags }: CallOf<'acquire'>): Outcome {
    const { table, held, owners, reports, cluster } = this.#options;
    if (!table.hasLockspace(lockspace)) return { error: answers.noSuchLockspace(lockspace) };
    const shared = (flags & acquireFlag.shared) !== 0;
    const autocreate = (flags & acquireFlag.autocreate) !== 0;
    const refusal = refusalOf(lockspace, name, autocreate);
    if (refusal !== undefined) return { error: refusal };
    if (!owners.watches(owner.pid, owner.startTime)) return { error: noProcess(owner.pid) };
    const facts = (): object => ({ lockspace, name, shared, guest: owner.name, pid: owner.pid });
    const known = table.get(lockspace, name);
    if (known !== undefined) {
      const outcome = this.#acquireKnown(known, shared, owner);
      if (outcome.acquired !== undefined) reports.often('acquired', facts);
      else if (outcome.error !== undefined) reports.tell('refused', facts());
      return outcome;
    }
    const lock = held.take({ lockspace, name, shared, autocreate }, owner);
    if ('failed' in lock) {
      reports.tell('refused', facts());
      const path = pathOf(lockspace, name);
      if (lock.failed === 'held') return { heldOutside: { name, path, pid: owner.pid } };
      return { error: errorOf(lock, path, autocreate) };
    }
    owners.need(owner.pid);
    if (cluster !== undefined) return { inCluster: cluster.take(lock, owner) };
    reports.often('acquired', facts);
    return { acquired: lock };
  }

  #acquireKnown(lock: Lock, shared: boolean, owner: LockdOwner): Outcome {
    const { held, owners, cluster } = this.#options;
    const pending = cluster?.pendingFor(lock, owner);
    if (pending?.wish === 'take' && lock.shared === shared) return { inCluster: pending.token };
    if (pending !== undefined)
      return { error: answers.isLocked(lock.name, `${owner.name} itself, which is just giving it back`) };
    // It asks again, because it was not told that it has it.
    const again = lock.shared === shared && lock.doubtful.some((one) => sameOwner(one, owner));
    if (again) return { acquired: lock };
    const exclusive = !lock.shared && !shared;
    if (lock.survived === true && exclusive && lock.owners.some((one) => sameOwner(one, owner))) {
      lock.askedAgainMs = monotonicMs();
      return { acquired: lock };
    }
    if (lock.shared && shared) {
      if (!held.changeOwners(lock, [...lock.owners, owner], [owner])) {
        return { error: answers.refused(`'${lock.name}' has more owners than can be written down`) };
      }
      owners.need(owner.pid);
      return cluster === undefined ? { acquired: lock } : { inCluster: cluster.take(lock, owner) };
    }
    return { error: answers.isLocked(lock.name, answers.ownersInWords(lock)) };
  }

  #release(owner: LockdOwner, { path: lockspace, name }: CallOf<'release'>): Outcome {
    const { table, cluster } = this.#options;
    if (!table.hasLockspace(lockspace)) return { error: answers.noSuchLockspace(lockspace) };
    const lock = table.get(lockspace, name);
    if (lock === undefined) return { error: answers.isNotLocked(name) };
    if (lock.askedAgainMs !== undefined && monotonicMs() - lock.askedAgainMs < askedAgainMsMax) {
      return lock.owners.some((one) => sameOwner(one, owner))
        ? done
        : { error: answers.otherOwner(owner.pid) };
    }
    if (cluster !== undefined && lock.owners.some((one) => sameOwner(one, owner)))
      return this.#releaseInCluster(cluster, owner, lock);
    const [first] = lock.owners;
    if (first === owner && lock.owners.length === 1) {
      this.#options.held.giveBack(lock);
      return this.#released(owner, lock);
    }
    const index = lock.owners.findIndex((one) => one.pid === owner.pid && one.startTime === owner.startTime);
    if (index === -1) return { error: answers.otherOwner(owner.pid) };
    this.#changeOwners(lock, lock.owners.toSpliced(index, 1));
    return this.#released(owner, lock);
  }

  #releaseInCluster(cluster: ClusterCalls, owner: LockdOwner, lock: Lock): Outcome {
    const pending = cluster.pendingFor(lock, owner);
    if (pending?.wish === 'give back') return { error: answers.isNotLocked(lock.name) };
    if (pending !== undefined) {
      this.#changeOwners(
        lock,
        lock.owners.filter((one) => !sameOwner(one, owner)),
      );
      cluster.withdraw(pending);
      return done;
    }
    return { inCluster: cluster.giveBack(lock, owner) };
  }

  #released({ name: guest, pid, startTime }: LockdOwner, { lockspace, name }: Lock): Outcome {
    const { owners, reports } = this.#options;
    owners.noLongerNeeds(pid, startTime);
    reports.often('released', () => ({ lockspace, name, guest, pid }));
    return done;
  }

  #createOrDelete(
    { pid }: LockdOwner,
    { call, path: lockspace, name }: CallOf<'createResource' | 'deleteResource'>,
  ): Outcome {
    const { table } = this.#options;
    if (!table.hasLockspace(lockspace)) return { error: answers.noSuchLockspace(lockspace) };
    if (lockspace === '')
      return { error: answers.refused(`'${name}' is a disk, and nothing that a lock makes or removes`) };
    const refusal = refusalOf(lockspace, name, true);
    if (refusal !== undefined) return { error: refusal };
    const known = table.get(lockspace, name);
    if (known !== undefined) return { error: answers.isLocked(name, answers.ownersInWords(known)) };
    const path = pathOf(lockspace, name);
    const failure = call === 'createResource' ? makeLockFile(path) : removeLockFile(path);
    if (failure === undefined) return done;
    return failure.failed === 'held'
      ? { heldOutside: { name, path, pid } }
      : { error: errorOf(failure, path, call === 'createResource') };
  }

  #changeOwners(lock: Lock, left: readonly LockdOwner[]): void {
    const { held } = this.#options;
    if (left.length === 0) held.giveBack(lock);
    else
      held.changeOwners(
        lock,
        left,
        lock.doubtful.filter((owner) => left.includes(owner)),
      );
  }
}

/** In a lockspace directory a name is one file's; in the direct lockspace it is a path. */
function refusalOf(lockspace: string, name: string, autocreate: boolean): RpcError | undefined {
  if (lockspace !== '') {
    return name === '' || name === '.' || name === '..' || name.includes('/')
      ? answers.refused(`'${name}' is no name of a resource in a lockspace`)
      : undefined;
  }
  if (autocreate) return answers.refused(`'${name}' is a disk, and nothing that a lock makes or removes`);
  return name === '' || name.startsWith('/') ? undefined : answers.refused(`'${name}' is no absolute path`);
}

function noProcess(pid: number): RpcError {
  return answers.refused(`there is no process ${pid}`);
}

function errorOf(
  failure: Exclude<LockFileFailure, { failed: 'held' }>,
  path: string,
  create: boolean,
): RpcError {
  return failure.failed === 'system'
    ? answers.cannotOpen(path, create, failure.errno)
    : answers.refused(`${path} ${failure.why}`);
}
