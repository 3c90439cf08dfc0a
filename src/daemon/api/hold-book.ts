/**
 * The holds of the API: taken for the processes of others, kept by the keeper, ended with their owners.
 *
 * Taking: the locks, the file, the keeper; then the answer goes out. Giving back: the keeper and the file, then the locks.
 * A crash between any two leaves no lock that two have, and none whose owner has been told that it is his and is not.
 */
import { setTimeout as timer } from 'node:timers/promises';
import { causeText, HoldfastError, isHoldfastError } from '../../errors.js';
import type { GuestInput, Hold, Manager, OwnerProcess } from '../../index.js';
import { Epoll } from '../../system/epoll.js';
import type { GuardedHold, HoldGuard } from '../cluster/hold-guard.js';
import { OwnerWatch } from '../lockd/owner-watch.js';
import { Adoption, type Asked } from './adoption.js';
import {
  factsOf,
  guardedHold,
  isCertain,
  isSame,
  locksOf,
  writtenFacts,
  type AcquireWish,
  type Booked,
  type BookedHold,
} from './booked-hold.js';
import type { EventLog } from './event-log.js';
import type { KeptHolds } from './kept-hold.js';
import { isWitnessed, removeWitness, requireWitness } from './witness-file.js';

/** How long who asks waits for what is just being given back. */
const endsMsMax = 5_000;

/** How soon the end of an owner, or of a witness's last holder, is seen. */
const lookMs = 100;

export class HoldBook {
  readonly #manager: Manager;
  readonly #kept: KeptHolds;
  readonly #events: EventLog;
  readonly #holds = new Map<string, Booked>();
  readonly #epoll = new Epoll();
  readonly #owners = new OwnerWatch(this.#epoll);
  /** What is just being given back. */
  readonly #ends = new Set<Promise<void>>();
  /** By witness: who just asks. */
  readonly #asking = new Map<string, Promise<unknown>>();
  #timer: NodeJS.Timeout | undefined;
  readonly #adoption: Adoption;
  readonly #guard: HoldGuard | undefined;

  /** @param guard of holds whose locks end by themselves; undefined: no driver has such locks. */
  constructor(manager: Manager, kept: KeptHolds, events: EventLog, guard?: HoldGuard) {
    this.#manager = manager;
    this.#kept = kept;
    this.#events = events;
    this.#guard = guard;
    this.#adoption = new Adoption(manager, kept, events, guard);
  }

  get size(): number {
    return this.#holds.size;
  }

  list(): readonly BookedHold[] {
    return [...this.#holds.values()];
  }

  /** Throws `NO_SUCH_HOLD`. */
  get(id: string): BookedHold {
    return this.#booked(id);
  }

  /** Takes up what was held before this process. */
  async adopt(): Promise<void> {
    const book = (hold: Hold, asked: Asked): void => this.#keep(this.#book(hold, asked, true));
    await this.#adoption.adoptAll(book);
    this.#lookOn();
    const held = (): readonly GuardedHold[] =>
      this.list().flatMap((one) => (one.hold.state === 'held' ? [guardedHold(one)] : []));
    void this.#guard?.takeOver(held, () => this.#adoption.adoptLeft(book));
  }

  /**
   * Takes a hold. Who asks again for what he may not know that he has gets that: by its witness, or, after a restart, by
   * the same owner and requests.
   */
  async acquire(wish: AcquireWish): Promise<BookedHold> {
    const { witness } = wish;
    if (witness === undefined) return this.#acquire(wish);
    // Who asks again while the first answer is on its way would else be refused because of himself.
    for (let other = this.#asking.get(witness); other !== undefined; other = this.#asking.get(witness)) {
      await other.catch(() => undefined);
    }
    const asking = this.#acquire(wish);
    this.#asking.set(witness, asking);
    return asking.finally(() => this.#asking.delete(witness));
  }

  async #acquire({ input, process, witness, onLost, options }: AcquireWish): Promise<Booked> {
    const again = await this.#askedAgain(input, process, witness);
    if (again !== undefined) {
      again.told++;
      return again;
    }
    if (witness !== undefined) requireWitness(witness);
    // Whoever starts one command after the other is not to be refused because of the first one.
    await this.#look();
    const hold = await this.#manager.lock(input, { ...options, process, unlockOnRelease: true });
    const booked = this.#book(hold, { witness, onLost: onLost ?? hold.plan.onLockFailure }, false);
    try {
      this.#keep(booked);
      await this.#guardOwner(booked);
    } catch (error) {
      await this.#end(booked, 'it could not be kept');
      throw error;
    }
    this.#events.add('granted', factsOf(hold));
    return booked;
  }

  async #askedAgain(
    input: GuestInput,
    process: OwnerProcess,
    witness: string | undefined,
  ): Promise<Booked | undefined> {
    const own = [...this.#holds.values()].filter(({ hold: { owner } }) => isSame(owner, process));
    if (witness !== undefined) return own.find((booked) => booked.witness === witness);
    const doubtful = own.filter((booked) => booked.doubtful);
    if (doubtful.length === 0) return undefined;
    const { owner, requests } = await this.#manager.plan(input);
    const wanted = locksOf(requests);
    const found = doubtful.find(
      ({ hold }) => hold.owner.uuid === owner.uuid && locksOf(hold.requests) === wanted,
    );
    if (found !== undefined) found.doubtful = false;
    return found;
  }

  async extend(id: string, input: GuestInput, options: AcquireWish['options']): Promise<BookedHold> {
    const booked = this.#booked(id);
    await this.#look();
    const { hold } = booked;
    const before = new Set(hold.requests.map(({ resource }) => resource.identity));
    await hold.extend(input, options);
    try {
      await this.#guardOwner(booked);
    } catch (error) {
      const added = hold.requests.map(({ resource }) => resource.identity);
      await hold.shrink(added.filter((identity) => !before.has(identity)));
      throw error;
    }
    return this.#changed(booked, 'extended');
  }

  async shrink(id: string, names: readonly string[]): Promise<BookedHold> {
    const booked = this.#booked(id);
    // If this process ends in the middle, the next one brings it to its end.
    this.#keep(booked, names);
    try {
      await booked.hold.shrink(names);
      await this.#guard?.add([guardedHold(booked)]);
    } catch (error) {
      if (this.#isBooked(booked)) this.#keep(booked);
      throw error;
    }
    return this.#changed(booked, 'shrunk');
  }

  async suspend(id: string): Promise<BookedHold> {
    const booked = this.#booked(id);
    await booked.hold.suspend();
    this.#guard?.remove(id);
    return this.#changed(booked, 'suspended');
  }

  async resume(id: string, signal: AbortSignal): Promise<BookedHold> {
    const booked = this.#booked(id);
    if (booked.hold.state === 'held' && (booked.lost !== undefined || booked.regained)) {
      await this.#retake(booked);
      return booked;
    }
    try {
      await booked.hold.resume(signal);
    } catch (error) {
      if (isHoldfastError(error, 'LOST') && booked.lost === undefined) {
        booked.lost = causeText(error);
        this.#events.add('lost', { ...factsOf(booked.hold), reason: booked.lost });
      }
      throw error;
    }
    try {
      await this.#guardOwner(booked);
    } catch (error) {
      await this.suspend(id);
      throw error;
    }
    return this.#changed(booked, 'resumed');
  }

  async handOver(id: string, process: OwnerProcess, witness: string | undefined): Promise<BookedHold> {
    const booked = this.#booked(id);
    if (witness !== undefined) requireWitness(witness);
    await this.#look();
    this.#watch(process);
    const leave = (): void => this.#owners.noLongerNeeds(process.pid, process.startTime);
    const { pid, startTime } = booked.hold.owner;
    try {
      this.#guard?.requireStoppable(guardedHold(booked), process);
      await booked.hold.passTo(process);
      this.#requireBooked(booked);
    } catch (error) {
      leave();
      throw error;
    }
    try {
      await this.#guardOwner({ ...booked, witness });
    } catch (error) {
      leave();
      await booked.hold.passTo({ pid, startTime });
      throw error;
    }
    this.#unwatch(booked);
    // He may have ended meanwhile, and it was said when this was not his.
    booked.watched = this.#owners.watches(process.pid, process.startTime) ? process : undefined;
    booked.ownerEnded = booked.watched === undefined;
    booked.witness = witness;
    return this.#changed(booked, 'handed-over');
  }

  /** Throws `NO_SUCH_HOLD`; by then nothing of it is locked any more. */
  async release(id: string): Promise<void> {
    if (!this.#holds.has(id)) await Promise.all(this.#ends);
    await this.#end(this.#booked(id), 'released');
  }

  /** Who asked for it has gone without an answer: it ends, unless somebody else was told that it is his. */
  async takeBack({ hold }: BookedHold): Promise<void> {
    const booked = this.#holds.get(hold.id);
    if (booked === undefined || --booked.told > 0) return;
    await this.#end(booked, 'who asked for it had gone');
  }

  #isBooked(booked: Booked): boolean {
    return this.#holds.get(booked.hold.id) === booked;
  }

  /** Throws `ENDED`: what has ended while it was changed is not to be kept again. */
  #requireBooked(booked: Booked): void {
    if (this.#isBooked(booked)) return;
    throw new HoldfastError('ENDED', `hold ${booked.hold.id} has ended meanwhile`);
  }

  #booked(id: string): Booked {
    const booked = this.#holds.get(id);
    if (booked !== undefined) return booked;
    throw new HoldfastError('NO_SUCH_HOLD', `there is no hold ${id}`);
  }

  #book(hold: Hold, { witness, onLost }: Asked, doubtful: boolean): Booked {
    const { pid, startTime } = hold.owner;
    const isThere = this.#owners.needExactly(pid, startTime);
    const watched = isThere ? { pid, startTime } : undefined;
    const booked: Booked = {
      hold,
      witness,
      onLost,
      ownerEnded: !isThere,
      lost: undefined,
      regained: false,
      doubtful,
      told: 1,
      watched,
    };
    this.#holds.set(hold.id, booked);
    this.#watchLoss(booked);
    this.#lookOn();
    return booked;
  }

  #lookOn(): void {
    const needed = this.#holds.size + this.#adoption.left > 0;
    if (needed) this.#timer ??= setInterval(() => void this.#look(), lookMs);
    else clearInterval(this.#timer);
    if (!needed) this.#timer = undefined;
  }

  #watch({ pid, startTime }: OwnerProcess): void {
    if (this.#owners.needExactly(pid, startTime)) return;
    throw new HoldfastError('BAD_DATA', `the process ${pid} has ended, and cannot hold anything`);
  }

  #unwatch(booked: Booked): void {
    if (booked.watched !== undefined)
      this.#owners.noLongerNeeds(booked.watched.pid, booked.watched.startTime);
    booked.watched = undefined;
  }

  #keep(booked: Booked, leaving?: readonly string[]): void {
    const { hold } = booked;
    const guarded = this.#guard?.guards(guardedHold(booked)) === true;
    this.#kept.keep(
      writtenFacts(booked, guarded, leaving),
      hold.state === 'suspended' ? [] : hold.descriptors,
    );
  }

  #changed(booked: Booked, event: 'extended' | 'shrunk' | 'suspended' | 'resumed' | 'handed-over'): Booked {
    this.#requireBooked(booked);
    booked.doubtful = false;
    this.#keep(booked);
    this.#events.add(event, factsOf(booked.hold));
    return booked;
  }

  #end(booked: Booked, reason: string): Promise<void> {
    if (!this.#isBooked(booked)) return Promise.resolve();
    this.#holds.delete(booked.hold.id);
    this.#unwatch(booked);
    this.#guard?.remove(booked.hold.id);
    this.#kept.drop(booked.hold.id);
    const end = this.#giveBack(booked, reason);
    const settled = end.catch(() => undefined);
    this.#ends.add(settled);
    void settled.then(() => this.#ends.delete(settled));
    return end;
  }

  async #giveBack({ hold, witness }: Booked, reason: string): Promise<void> {
    try {
      await hold.release();
    } finally {
      if (witness !== undefined) removeWitness(witness);
      this.#events.add('released', { ...factsOf(hold), reason });
      this.#lookOn();
    }
  }

  #watchLoss(booked: Booked): void {
    const { signal } = booked.hold;
    if (signal.aborted) this.#lost(booked);
    else signal.addEventListener('abort', () => this.#lost(booked), { once: true });
  }

  #lost(booked: Booked): void {
    const { hold } = booked;
    booked.lost = causeText(hold.signal.reason);
    if (!this.#isBooked(booked)) return;
    this.#events.add('lost', { ...factsOf(hold), reason: booked.lost });
    this.#guard?.lost(guardedHold(booked), {
      isThere: () => this.#isBooked(booked) && hold.state === 'held',
      isHeld: () => booked.lost === undefined && isCertain(hold),
      retake: () => this.#retake(booked),
    });
  }

  /** After a loss: `LOST` unless nobody else has had any of it. When it returns its owner is guarded as before. */
  #retake(booked: Booked): Promise<void> {
    booked.retaking ??= this.#retakeNow(booked).finally(() => (booked.retaking = undefined));
    return booked.retaking;
  }

  async #retakeNow(booked: Booked): Promise<void> {
    if (booked.lost !== undefined) {
      await booked.hold.retake();
      booked.lost = undefined;
      booked.regained = true;
      this.#watchLoss(booked);
      this.#changed(booked, 'resumed');
    }
    await this.#guardOwner(booked);
  }

  /** Before it returns nobody is told that he has it. */
  async #guardOwner(booked: Pick<BookedHold, 'hold' | 'witness' | 'onLost'>): Promise<void> {
    this.#guard?.requireStoppable(guardedHold(booked), booked.hold.owner);
    await this.#guard?.add([guardedHold(booked)]);
  }

  /** Ends the holds of those who have ended. */
  async #look(): Promise<void> {
    this.#epoll.wait(0, (fd) => {
      const ended = this.#owners.ended(fd);
      if (ended === undefined) return;
      for (const booked of this.#holds.values()) {
        if (booked.watched === undefined || !isSame(booked.watched, ended)) continue;
        booked.watched = undefined;
        booked.ownerEnded = true;
        this.#events.add('owner-ended', factsOf(booked.hold));
      }
    });
    for (const booked of this.#holds.values()) {
      if (!booked.ownerEnded || (booked.witness !== undefined && isWitnessed(booked.witness))) continue;
      void this.#end(booked, 'its owner ended').catch((error: unknown) =>
        this.#events.add('lost', { ...factsOf(booked.hold), reason: causeText(error) }),
      );
    }
    if (this.#adoption.letGoOfEnded()) this.#lookOn();
    // One that does not come to its end, because an engine does not answer, is not to stop all others.
    await Promise.race([Promise.all(this.#ends), timer(endsMsMax, undefined, { ref: false })]);
  }
}
