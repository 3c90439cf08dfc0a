/**
 * The holds of the API: taken for the processes of others, kept by the keeper, ended with their owners.
 *
 * Taking: the locks, the file, the keeper; then the answer goes out. Giving back: the keeper and the file, then the locks.
 * A crash between any two leaves no lock that two have, and none whose owner has been told that it is his and is not.
 */
import { closeSync } from 'node:fs';
import { causeText, HoldfastError, isHoldfastError } from '../../errors.js';
import type { GuestInput, Hold, LockOptions, Manager, Owner, OwnerProcess, SavedHold } from '../../index.js';
import type { ErrorCode } from '../../vocabulary.js';
import { Epoll } from '../../system/epoll.js';
import { processStartTime } from '../../system/process.js';
import { OwnerWatch } from '../lockd/owner-watch.js';
import type { EventLog } from './event-log.js';
import type { FoundHold, KeptHolds } from './kept-hold.js';
import { isWitnessed, removeWitness, requireWitness } from './witness-file.js';

export interface BookedHold {
  readonly hold: Hold;
  readonly witness: string | undefined;
  /** Its process has ended, and only the witness keeps it. */
  readonly ownerEnded: boolean;
  /** Why it can no longer be guaranteed. */
  readonly lost: string | undefined;
}

type Booked = { -readonly [Key in keyof BookedHold]: BookedHold[Key] } & {
  /** Whether its owner may not know that he has it, because the daemon ended with the answer: then he may ask again. */
  doubtful: boolean;
};

export interface AcquireWish {
  readonly input: GuestInput;
  readonly process: OwnerProcess;
  readonly witness: string | undefined;
  readonly options: Pick<LockOptions, 'wait' | 'signal' | 'allowUnlocked' | 'explain' | 'command' | 'onWait'>;
}

/** What is locked still by what the keeper has, though it could not be taken up. */
interface Unadopted {
  readonly saved: SavedHold;
  readonly descriptors: readonly number[];
}

/** After these there is nothing left to keep. */
const lostCodes: readonly ErrorCode[] = ['IN_USE', 'LOST', 'UNSUPPORTED'];

/** How soon the end of an owner, or of a witness's last holder, is seen. */
const lookMs = 100;

export class HoldBook {
  readonly #manager: Manager;
  readonly #kept: KeptHolds;
  readonly #events: EventLog;
  readonly #holds = new Map<string, Booked>();
  readonly #epoll = new Epoll();
  readonly #owners = new OwnerWatch(this.#epoll);
  /** What is just being given back because its owner has ended. */
  readonly #ends = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #unadopted: Unadopted[] = [];

  constructor(manager: Manager, kept: KeptHolds, events: EventLog) {
    this.#manager = manager;
    this.#kept = kept;
    this.#events = events;
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
    const found = this.#kept.find((record) =>
      this.#events.add('lost', { reason: 'its record cannot be read', record }),
    );
    for (const one of found) await this.#adoptOne(one);
    this.#lookOn();
  }

  async #adoptOne({ written, kept }: FoundHold): Promise<void> {
    const { saved, witness, leaving, suspended } = written;
    const descriptors = kept?.descriptors ?? [];
    try {
      if (suspended) throw new HoldfastError('LOST', 'it was suspended when the daemon ended');
      // Nobody is left who would keep it.
      if (kept === undefined && !isAlive(saved.owner) && !(witness !== undefined && isWitnessed(witness))) {
        return this.#letGo({ saved, descriptors });
      }
      const hold = await this.#manager.adopt(saved, descriptors, leaving);
      const booked = this.#book(hold, witness, true);
      this.#keep(booked);
      this.#events.add('adopted', factsOf(hold));
    } catch (error) {
      const { id, owner, plan } = saved;
      const resources = plan.requests.map(({ resource }) => resource.label);
      this.#events.add('lost', { hold: id, owner, resources, reason: causeText(error) });
      const isLost = isHoldfastError(error) && lostCodes.includes(error.code);
      if (isLost || kept === undefined) this.#letGo({ saved, descriptors });
      // A driver that does not start, or a bug: what is locked stays locked as long as its owner lives.
      else this.#unadopted.push({ saved, descriptors });
    }
  }

  #letGo({ saved, descriptors }: Unadopted): void {
    this.#kept.drop(saved.id);
    for (const fd of descriptors) closeSync(fd);
  }

  /**
   * Takes a hold. Who asks again for what he may not know that he has gets that: by its witness, or, after a restart, by
   * the same owner and requests.
   */
  async acquire({ input, process, witness, options }: AcquireWish): Promise<BookedHold> {
    const again = await this.#askedAgain(input, process, witness);
    if (again !== undefined) return again;
    if (witness !== undefined) requireWitness(witness);
    // Whoever starts one command after the other is not to be refused because of the first one.
    await this.#look();
    const hold = await this.#manager.lock(input, { ...options, process, unlockOnRelease: true });
    const booked = this.#book(hold, witness, false);
    try {
      this.#keep(booked);
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
    const wanted = requests.map(({ resource, mode }) => `${mode} ${resource.identity}`).join('\n');
    const found = doubtful.find(
      ({ hold }) =>
        hold.owner.uuid === owner.uuid &&
        hold.requests.map(({ resource, mode }) => `${mode} ${resource.identity}`).join('\n') === wanted,
    );
    if (found !== undefined) found.doubtful = false;
    return found;
  }

  async extend(id: string, input: GuestInput, options: AcquireWish['options']): Promise<BookedHold> {
    const booked = this.#booked(id);
    await this.#look();
    await booked.hold.extend(input, options);
    return this.#changed(booked, 'extended');
  }

  async shrink(id: string, names: readonly string[]): Promise<BookedHold> {
    const booked = this.#booked(id);
    // If this process ends in the middle, the next one brings it to its end.
    this.#keep(booked, names);
    try {
      await booked.hold.shrink(names);
    } catch (error) {
      this.#keep(booked);
      throw error;
    }
    return this.#changed(booked, 'shrunk');
  }

  async suspend(id: string): Promise<BookedHold> {
    const booked = this.#booked(id);
    await booked.hold.suspend();
    return this.#changed(booked, 'suspended');
  }

  async resume(id: string, signal: AbortSignal): Promise<BookedHold> {
    const booked = this.#booked(id);
    try {
      await booked.hold.resume(signal);
    } catch (error) {
      if (isHoldfastError(error, 'LOST') && booked.lost === undefined) {
        booked.lost = causeText(error);
        this.#events.add('lost', { ...factsOf(booked.hold), reason: booked.lost });
      }
      throw error;
    }
    return this.#changed(booked, 'resumed');
  }

  async handOver(id: string, process: OwnerProcess, witness: string | undefined): Promise<BookedHold> {
    const booked = this.#booked(id);
    if (witness !== undefined) requireWitness(witness);
    const before = booked.hold.owner;
    this.#watch(process);
    await booked.hold.passTo(process).catch((error: unknown) => {
      this.#owners.noLongerNeeds(process.pid, process.startTime);
      throw error;
    });
    if (!booked.ownerEnded) this.#owners.noLongerNeeds(before.pid, before.startTime);
    booked.ownerEnded = false;
    booked.witness = witness;
    return this.#changed(booked, 'handed-over');
  }

  async release(id: string): Promise<void> {
    await this.#end(this.#booked(id), 'released');
  }

  /** What somebody was granted whom nobody can tell of it any more. */
  async takeBack({ hold }: BookedHold): Promise<void> {
    const booked = this.#holds.get(hold.id);
    if (booked !== undefined) await this.#end(booked, 'who asked for it had gone');
  }

  #booked(id: string): Booked {
    const booked = this.#holds.get(id);
    if (booked !== undefined) return booked;
    throw new HoldfastError('NO_SUCH_HOLD', `there is no hold ${id}`);
  }

  #book(hold: Hold, witness: string | undefined, doubtful: boolean): Booked {
    const booked: Booked = { hold, witness, ownerEnded: false, lost: undefined, doubtful };
    booked.ownerEnded = !this.#owners.needExactly(hold.owner.pid, hold.owner.startTime);
    this.#holds.set(hold.id, booked);
    hold.signal.addEventListener('abort', () => this.#lost(booked), { once: true });
    this.#lookOn();
    return booked;
  }

  #lookOn(): void {
    const needed = this.#holds.size + this.#unadopted.length > 0;
    if (needed) this.#timer ??= setInterval(() => void this.#look(), lookMs);
    else clearInterval(this.#timer);
    if (!needed) this.#timer = undefined;
  }

  #watch({ pid, startTime }: OwnerProcess): void {
    if (this.#owners.needExactly(pid, startTime)) return;
    throw new HoldfastError('BAD_DATA', `the process ${pid} has ended, and cannot hold anything`);
  }

  #keep({ hold, witness }: Booked, leaving?: readonly string[]): void {
    this.#kept.keep(
      {
        saved: hold.save(),
        ...(witness === undefined ? {} : { witness }),
        ...(leaving === undefined ? {} : { leaving }),
        ...(hold.state === 'suspended' ? { suspended: true } : {}),
      },
      hold.state === 'suspended' ? [] : hold.descriptors,
    );
  }

  #changed(booked: Booked, event: 'extended' | 'shrunk' | 'suspended' | 'resumed' | 'handed-over'): Booked {
    booked.doubtful = false;
    this.#keep(booked);
    this.#events.add(event, factsOf(booked.hold));
    return booked;
  }

  async #end(booked: Booked, reason: string): Promise<void> {
    const { hold, witness } = booked;
    if (!this.#holds.delete(hold.id)) return;
    if (!booked.ownerEnded) this.#owners.noLongerNeeds(hold.owner.pid, hold.owner.startTime);
    this.#kept.drop(hold.id);
    try {
      await hold.release();
    } finally {
      if (witness !== undefined) removeWitness(witness);
      this.#events.add('released', { ...factsOf(hold), reason });
      this.#lookOn();
    }
  }

  #lost(booked: Booked): void {
    const reason: unknown = booked.hold.signal.reason;
    booked.lost = causeText(reason);
    if (this.#holds.has(booked.hold.id)) {
      this.#events.add('lost', { ...factsOf(booked.hold), reason: booked.lost });
    }
  }

  /** Ends the holds of those who have ended. */
  async #look(): Promise<void> {
    this.#epoll.wait(0, (fd) => {
      const ended = this.#owners.ended(fd);
      if (ended === undefined) return;
      for (const booked of this.#holds.values()) {
        if (!isSame(booked.hold.owner, ended)) continue;
        booked.ownerEnded = true;
        this.#events.add('owner-ended', factsOf(booked.hold));
      }
    });
    for (const booked of this.#holds.values()) {
      if (!booked.ownerEnded || (booked.witness !== undefined && isWitnessed(booked.witness))) continue;
      const end = this.#end(booked, 'its owner ended').catch((error: unknown) =>
        this.#events.add('lost', { ...factsOf(booked.hold), reason: causeText(error) }),
      );
      this.#ends.add(end);
      void end.finally(() => this.#ends.delete(end));
    }
    const ended = this.#unadopted.filter(({ saved }) => !isAlive(saved.owner));
    if (ended.length > 0) {
      this.#unadopted = this.#unadopted.filter((one) => !ended.includes(one));
      for (const one of ended) this.#letGo(one);
      this.#lookOn();
    }
    await Promise.all(this.#ends);
  }
}

function isSame(owner: Owner, { pid, startTime }: OwnerProcess): boolean {
  return owner.pid === pid && owner.startTime === startTime;
}

function isAlive({ pid, startTime }: Owner): boolean {
  return processStartTime(pid) === startTime;
}

function factsOf({ id, owner, requests }: Hold): Readonly<Record<string, unknown>> {
  const { kind, name, uuid, pid } = owner;
  return {
    hold: id,
    owner: { kind, name, uuid, pid },
    resources: requests.map(({ resource, mode }) => ({
      label: resource.label,
      identity: resource.identity,
      mode,
    })),
  };
}
