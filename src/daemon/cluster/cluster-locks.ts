/**
 * libvirt's locks in a cluster: what the thread of the lock protocol has locked in the kernel is locked there too, in the name of
 * the guest's process. A guest whose lock is lost is stopped, and the guard of the host does that if the daemon cannot.
 */
import { basename } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { GuaranteeTimes } from '../../driver/contract.js';
import { causeText, HoldfastError, isHoldfastError } from '../../errors.js';
import type { ClusterDriver, ClusterGuest, Grant, LockRequest, Loss, LossAction } from '../../index.js';
import { knownStartTime } from '../../system/pidfd.js';
import type { ErrorCode } from '../../vocabulary.js';
import { holderInWords } from '../explain-lock.js';
import type { ClusterRefusal, ClusterWish } from '../lockd/cluster-calls.js';
import type { Lock, LockdOwner } from '../lockd/lock-table.js';
import type { GuestFiles } from './guest-file.js';
import { GuestLocks } from './guest-locks.js';
import type { HostGuard } from './host-guard.js';
import { pauseUntilHeld, PausedOwner } from './paused-owner.js';
import { stopGuest, type GuestAction } from './stop-guest.js';

export type ClusterEvent =
  | 'lost'
  | 'guest goes on'
  | 'guest stays stopped'
  | 'not given back yet'
  | 'taken up'
  | 'not taken up yet'
  | 'not understood'
  | 'not written'
  | 'left to the next daemon'
  | 'server with a fault'
  | 'server does not answer';

export interface ClusterLocksOptions {
  readonly cluster: ClusterDriver;
  readonly files: GuestFiles;
  readonly guard: HostGuard;
  readonly onLost: GuestAction;
  readonly tell: (what: ClusterEvent, facts: object) => void;
}

/** libvirt, and whoever pauses a guest, waits for the answer; after that it is given back later, or ends with the lease. */
const giveBackMsMax = 5_000;
const takeUpPauseMs = 500;

export class ClusterLocks {
  readonly #options: ClusterLocksOptions;
  readonly #guests = new Map<string, GuestLocks>();
  /** What is just being given back on this host: who comes next waits for it. */
  readonly #leaving = new Set<{
    readonly uuid: string;
    readonly name: string;
    readonly over: Promise<void>;
  }>();
  /** Who is stopped until its locks are held again. */
  readonly #paused = new Map<GuestLocks, PausedOwner>();
  #begin: () => void = () => undefined;
  /** What was held before this process goes first. */
  readonly #begun = new Promise<void>((resolve) => (this.#begin = resolve));
  #isOver = false;

  constructor(options: ClusterLocksOptions) {
    this.#options = options;
  }

  /** How many guests have something here. */
  get size(): number {
    return [...this.#guests.values()].filter(({ hasNothing }) => !hasNothing).length;
  }

  /** Does what the thread asks for. Never throws. */
  async do({ wish, owner, lockspace, name, shared }: ClusterWish): Promise<ClusterRefusal | undefined> {
    const thing = thingName({ lockspace, name });
    await this.#begun;
    if (wish === 'take') {
      try {
        await Promise.all(
          [...this.#leaving]
            .filter((one) => one.name === thing || one.uuid === owner.uuid)
            .map(({ over }) => over),
        );
        await this.#guestOf(owner).take(thing, (guest) => this.#plan(guest, { lockspace, name, shared }));
        return undefined;
      } catch (error) {
        this.#forgetIfEmpty(owner);
        return refusalOf(error);
      }
    }
    const locks = this.#guestOf(owner);
    const given = wish === 'forget' ? locks.forget(thing) : locks.giveBack(thing);
    await this.#leave(owner, thing, given);
    this.#forgetIfEmpty(owner);
    return undefined;
  }

  /** What the daemon before had in the cluster; to be called once: nothing is done before it. It goes on until all is taken up or lost. */
  async takeUp(locks: readonly Lock[]): Promise<void> {
    const { files, tell } = this.#options;
    const wanted = new Map<string, { readonly owner: LockdOwner; readonly locks: Lock[] }>();
    for (const lock of locks.filter(({ survived }) => survived === true)) {
      for (const owner of lock.owners) {
        const one = wanted.get(keyOf(owner)) ?? { owner, locks: [] };
        if (!one.locks.includes(lock)) one.locks.push(lock);
        wanted.set(keyOf(owner), one);
      }
    }
    const { guests, notUnderstood } = files.readAll();
    for (const file of notUnderstood) tell('not understood', { file });
    for (const { owner, things } of guests) this.#guests.set(keyOf(owner), this.#newLocks(owner, things));
    for (const { owner } of wanted.values()) this.#guestOf(owner);
    const all = [...this.#guests.values()].map((guest) =>
      this.#takeUpOne(guest, wanted.get(keyOf(guest.guest))?.locks ?? []),
    );
    this.#begin();
    await Promise.all(all);
    if (!this.#isOver) this.#options.guard.dismissBefore();
  }

  /** Says what is to be said of the servers: what their versions do, and which of them do not answer. Never throws. */
  async nameServers(): Promise<void> {
    const { cluster, tell } = this.#options;
    const servers = (await cluster.driver.examine?.().catch(() => [])) ?? [];
    for (const { name: server, version, note, answers, error } of servers) {
      if (note !== undefined) tell('server with a fault', { server, version, note });
      if (!answers) tell('server does not answer', { server, why: error });
    }
  }

  /** Leaves what is held to the next daemon: the lease goes on for its time, and the guard guards. */
  async end(): Promise<void> {
    this.#isOver = true;
    const { guard, cluster, tell } = this.#options;
    const guests = this.size;
    if (guests > 0) tell('left to the next daemon', { guests });
    guard.leave();
    if (guests === 0) await cluster.end().catch(() => undefined);
  }

  async #takeUpOne(guest: GuestLocks, locks: readonly Lock[]): Promise<void> {
    const { tell } = this.#options;
    const facts = { guest: guest.guest.name, pid: guest.guest.pid };
    const wanted = new Map(locks.map((lock) => [thingName(lock), lock]));
    const known = new Set(guest.things);
    const missing = async (of: ClusterGuest): Promise<ReadonlyMap<string, readonly LockRequest[]>> => {
      const planned = new Map<string, readonly LockRequest[]>();
      for (const [name, lock] of wanted) if (!known.has(name)) planned.set(name, await this.#plan(of, lock));
      return planned;
    };
    for (let round = 0; !this.#isOver; round++) {
      // What it had ends with the lease of the daemon before.
      if (round > 0 && !isAlive(guest.guest)) {
        guest.discard();
        break;
      }
      try {
        await guest.takeUp(new Set(wanted.keys()), missing);
        if (wanted.size > 0) tell('taken up', { ...facts, locks: wanted.size });
        break;
      } catch (error) {
        if (wanted.size === 0) {
          guest.discard();
          break;
        }
        if (!isWorthAnotherTry(error)) {
          this.#lost(guest, { reason: causeText(error), resources: [] }, true);
          break;
        }
        if (round === 0) tell('not taken up yet', { ...facts, why: causeText(error) });
        await pause(takeUpPauseMs);
      }
    }
    this.#forgetIfEmpty(guest.guest);
  }

  async #leave(owner: LockdOwner, thing: string, given: Promise<void>): Promise<void> {
    const { tell } = this.#options;
    const facts = { guest: owner.name, thing };
    const timeOver = AbortSignal.timeout(giveBackMsMax);
    const over = Promise.race([
      given.catch((error: unknown) => tell('not given back yet', { ...facts, why: causeText(error) })),
      new Promise<void>((resolve) => {
        timeOver.addEventListener('abort', () => resolve(), { once: true });
      }),
    ]);
    const leaving = { uuid: owner.uuid, name: thing, over };
    this.#leaving.add(leaving);
    await over;
    this.#leaving.delete(leaving);
  }

  #plan(
    guest: ClusterGuest,
    { lockspace, name, shared }: Pick<Lock, 'lockspace' | 'name' | 'shared'>,
  ): Promise<readonly LockRequest[]> {
    const { cluster } = this.#options;
    if (lockspace === '')
      return cluster.requests(guest, { path: name, mode: shared ? 'shared' : 'exclusive' });
    // libvirt's name of a lease's lockspace is the last part of the folder that it stands in.
    const label = `${basename(lockspace)}:${name}`;
    return cluster.requests(guest, { label, lockspace: basename(lockspace), key: name, offset: 0 });
  }

  #guestOf(owner: LockdOwner): GuestLocks {
    const key = keyOf(owner);
    const known = this.#guests.get(key) ?? this.#newLocks(owner);
    this.#guests.set(key, known);
    return known;
  }

  #newLocks(owner: LockdOwner, things?: Iterable<readonly [string, readonly LockRequest[]]>): GuestLocks {
    const { cluster, files, tell } = this.#options;
    const granted = (locks: GuestLocks, grant: Grant): Promise<void> => this.#guard(locks, grant);
    const lost = (locks: GuestLocks, loss: Loss): void => this.#lost(locks, loss, false);
    const notWritten = (_locks: GuestLocks, error: unknown): void =>
      tell('not written', { guest: owner.name, pid: owner.pid, why: causeText(error) });
    return new GuestLocks(owner, { cluster, files, granted, lost, notWritten }, things);
  }

  async #guard({ guest: { pid, startTime } }: GuestLocks, { guarantee }: Grant): Promise<void> {
    const { guard, onLost } = this.#options;
    if (guarantee === undefined || onLost === 'ignore') return;
    await guard.add([{ process: { pid, startTime, action: onLost }, guarantee }]);
  }

  /** `taken`: somebody else has it by now. */
  #lost(locks: GuestLocks, { reason }: Loss, taken: boolean): void {
    const { tell, onLost } = this.#options;
    const { name: guest, pid, startTime } = locks.guest;
    tell('lost', { guest, pid, reason, action: onLost satisfies LossAction });
    const times = taken ? undefined : locks.grant?.guarantee?.times;
    if (onLost === 'poweroff') stopGuest({ pid, startTime }, times);
    else if (onLost === 'pause') this.#pause(locks, times);
  }

  /** @param times undefined: somebody else has it, and it stays stopped. */
  #pause(locks: GuestLocks, times: GuaranteeTimes | undefined): void {
    const { name: guest, pid, startTime } = locks.guest;
    if (times === undefined) {
      new PausedOwner({ pid, startTime }).stop();
      return;
    }
    if (this.#paused.get(locks)?.stop() === true) return;
    const { paused, over } = pauseUntilHeld(
      { pid, startTime },
      {
        isThere: () => !this.#isOver && !locks.hasNothing && isAlive(locks.guest),
        isHeld: () => locks.isCertain,
        retake: () => locks.retake(),
      },
    );
    this.#paused.set(locks, paused);
    void over.finally(() => {
      if (this.#paused.get(locks) === paused) this.#paused.delete(locks);
      if (paused.goesOn) this.#options.tell('guest goes on', { guest, pid });
      else if (isAlive(locks.guest) && !this.#isOver)
        this.#options.tell('guest stays stopped', { guest, pid });
    });
  }

  #forgetIfEmpty(owner: LockdOwner): void {
    const locks = this.#guests.get(keyOf(owner));
    if (locks === undefined || !locks.hasNothing) return;
    void locks.inTurn(async () => {
      if (!locks.hasNothing || this.#guests.get(keyOf(owner)) !== locks) return;
      this.#guests.delete(keyOf(owner));
      this.#options.guard.remove(owner);
    });
  }
}

function isAlive({ pid, startTime }: LockdOwner): boolean {
  return knownStartTime(pid) === startTime;
}

/** One that was refused is held by somebody else; what cannot be planned cannot be held. */
const finalCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'LOST',
  'IN_USE',
  'CANNOT_LOCK',
  'UNSUPPORTED',
  'SAME_DISK_TWICE',
  'BAD_DATA',
  'BAD_UUID',
  'NO_SOURCE',
  'RELATIVE_PATH',
  'NO_SUCH_FILE',
  'NOT_READABLE',
  'NOT_A_DISK',
  'NOT_PERMITTED',
  'NOT_JOINED',
  'NO_LEASE',
  'USAGE',
  'CONFIG',
  'DRIVER_BROKEN',
]);

/** A fault of this host, such as a full runtime directory, says nothing of who has the lock. */
function isWorthAnotherTry(error: unknown): boolean {
  return !isHoldfastError(error) || !finalCodes.has(error.code);
}

function refusalOf(error: unknown): ClusterRefusal {
  if (!isHoldfastError(error, 'IN_USE') || error.holders.length === 0) return { why: causeText(error) };
  return { by: error.holders.map(holderInWords).join(', ') };
}

function thingName({ lockspace, name }: Pick<Lock, 'lockspace' | 'name'>): string {
  return `${lockspace} ${name}`;
}

function keyOf({ pid, startTime }: LockdOwner): string {
  return `${pid} ${startTime}`;
}

/** Throws `UNSUPPORTED` for a driver that cannot do what libvirt asks for, disk by disk. */
export function requireAble({ about, driver }: ClusterDriver): void {
  const missing = (['extend', 'shrink', 'adopt'] as const).filter((name) => driver[name] === undefined);
  if (missing.length === 0) return;
  throw new HoldfastError(
    'UNSUPPORTED',
    `driver ${about.name} cannot lock for libvirt: it has no ${missing.join(', ')}`,
    { remedy: 'Use another driver for libvirt, such as etcd.' },
  );
}
