/**
 * The holds of the API whose grants end by themselves unless they are renewed: the owner of each, and all below it, is ended
 * before somebody else can have what it had, as libvirt's guests are. The guard of the host has the owners on its list, by the
 * guarantees of their grants, so that it does that as well where the daemon is killed or stands still.
 *
 * Whoever gives a hold back, and whoever suspends it, is on no list for it any more: nobody is ended for what he has not got.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { HoldfastError } from '../../errors.js';
import type { Guarantee } from '../../driver/contract.js';
import type { LossAction } from '../../index.js';
import type { NamedProcess, WitnessedProcess } from '../../guard/guard-words.js';
import { hasEnded } from '../../guard/stop-targets.js';
import { boottimeMs } from '../../system/boot-clock.js';
import type { GuardWish, HostGuard } from './host-guard.js';
import { ownProcesses } from './own-processes.js';
import { pauseUntilHeld, PausedOwner, type LostLock } from './paused-owner.js';
import { stopGuest, type GuestAction } from './stop-guest.js';

/** Of a hold, what this is about. */
export interface GuardedHold {
  readonly id: string;
  readonly owner: NamedProcess;
  /** Locked by whoever has what the owner had, also when that one has ended. */
  readonly witness: string | undefined;
  /** What is to become of its owner when it is lost; undefined: what the daemon is set to. */
  readonly onLost: LossAction | undefined;
  /** Of its grants: the same objects as long as they are renewed together. */
  readonly guarantees: readonly Guarantee[];
}

type LostHold = Omit<GuardedHold, 'guarantees'> & Partial<Pick<GuardedHold, 'guarantees'>>;

export type HoldGuardEvent =
  'hold left to the next daemon' | 'owner stopped' | 'owner goes on' | 'owner stays stopped';

export interface HoldGuardOptions {
  readonly guard: HostGuard;
  readonly onLost: GuestAction;
  readonly tell: (what: HoldGuardEvent, facts: object) => void;
}

const init = 1;
const addAgainMs = 1_000;
/**
 * Who listens to the API knows of a loss by then, and can stop what relies on it by himself (`holdfast run --supervise`), and
 * even begin anew with `--on-lost=restart`, before he is asked to end: this part of the time until the kill.
 */
const headStart = 1 / 3;

export class HoldGuard {
  readonly #options: HoldGuardOptions;
  /** By the id of the hold: for how many guarantees it is on a list. */
  readonly #listed = new Map<string, number>();
  /** By the id of the hold: who is stopped until it is held again. */
  readonly #paused = new Map<string, PausedOwner>();

  constructor(options: HoldGuardOptions) {
    this.#options = options;
  }

  /** Whether the end of the hold's lock ends its owner. */
  guards(hold: Pick<GuardedHold, 'guarantees' | 'onLost'>): boolean {
    return hold.guarantees.length > 0 && this.#actionFor(hold) !== 'ignore';
  }

  #actionFor({ onLost }: Pick<GuardedHold, 'onLost'>): GuestAction {
    return onLost === undefined || onLost === 'restart' ? this.#options.onLost : onLost;
  }

  /** Throws `BAD_DATA` for an owner that nothing may end, `UNSUPPORTED` for one that only somebody else could start again. */
  requireStoppable(hold: Pick<GuardedHold, 'guarantees' | 'onLost'>, { pid }: NamedProcess): void {
    if (hold.onLost === 'restart' && hold.guarantees.length > 0) {
      throw new HoldfastError(
        'UNSUPPORTED',
        'the lock daemon cannot start a command again whose lock is lost',
        {
          remedy:
            'Let `holdfast run --supervise` start it again, or ask for poweroff, pause or ignore (--on-lost, <on_lockfailure>).',
        },
      );
    }
    if (!this.guards(hold) || isStoppable(pid)) return;
    throw new HoldfastError(
      'BAD_DATA',
      `process ${pid} cannot hold locks of a cluster: it could not be ended when they are lost`,
      { remedy: 'Name the process that uses the disks.' },
    );
  }

  /** To be called again after each change of a hold; returns when the guard knows of it. Throws `DRIVER_FAILED` where there is none. */
  async add(holds: readonly GuardedHold[]): Promise<void> {
    const wishes = holds.filter((hold) => this.guards(hold)).flatMap((hold) => this.#wishesOf(hold));
    for (const hold of holds) {
      const count = this.guards(hold) ? hold.guarantees.length : 0;
      this.#remove(hold.id, count);
      if (count > 0) this.#listed.set(hold.id, count);
    }
    await this.#options.guard.add(wishes);
  }

  remove(id: string): void {
    this.#remove(id, 0);
    this.#listed.delete(id);
  }

  /**
   * The lock of a hold is lost.
   * @param hold without guarantees: somebody else has what it had, and there is no time left
   * @param lock missing: it will not be held again
   */
  lost(hold: LostHold, lock?: LostLock): void {
    const { guarantees } = hold;
    const action = this.#actionFor(hold);
    if (action === 'ignore' || (guarantees !== undefined && guarantees.length === 0)) return;
    const stop = (): void => {
      if (lock === undefined || (lock.isThere() && !lock.isHeld())) this.#stop(hold, action, lock);
    };
    const waitMs = Math.min(...(guarantees ?? []).map(headStartMs));
    if (Number.isFinite(waitMs) && waitMs > 0) setTimeout(stop, waitMs).unref();
    else stop();
  }

  #stop(hold: LostHold, action: 'poweroff' | 'pause', lock: LostLock | undefined): void {
    const { tell } = this.#options;
    const { id, guarantees, witness } = hold;
    // Whoever has it by now.
    const owner = witnessed(hold.owner, witness);
    if (!isStoppable(owner.pid)) return;
    const facts = { hold: id, pid: owner.pid };
    tell('owner stopped', { ...facts, action });
    const times = guarantees?.map((one) => one.times).toSorted(byKill)[0];
    if (action === 'poweroff') return stopGuest(owner, times);
    if (lock === undefined) {
      // Nobody asks whether it is held again, and so it never goes on.
      new PausedOwner(owner).stop();
      return tell('owner stays stopped', facts);
    }
    if (this.#paused.get(id)?.stop() === true) return;
    const { paused, over } = pauseUntilHeld(owner, lock);
    this.#paused.set(id, paused);
    void over.finally(() => {
      if (this.#paused.get(id) === paused) this.#paused.delete(id);
      if (paused.goesOn) tell('owner goes on', facts);
      else if (!hasEnded(owner)) tell('owner stays stopped', facts);
    });
  }

  /**
   * After a restart. The guard of the daemon before does what is to be done in time, and is sent away when all of `held` are guarded by
   * this one and `left`, which takes up what could not be taken up yet, has come to its end. Never throws.
   */
  async takeOver(held: () => readonly GuardedHold[], left: () => Promise<void>): Promise<void> {
    await this.#addPersistently(held);
    await left();
    await this.#addPersistently(held);
    this.#options.guard.dismissBefore();
  }

  async #addPersistently(held: () => readonly GuardedHold[]): Promise<void> {
    for (;;) {
      try {
        return await this.add(held());
      } catch {
        // The end of a guard was logged.
        await pause(addAgainMs, undefined, { ref: false });
      }
    }
  }

  /** Leaves what is held to the next daemon: the guard guards. */
  leave(): void {
    const { guard, tell } = this.#options;
    if (this.#listed.size > 0) tell('hold left to the next daemon', { holds: this.#listed.size });
    guard.leave();
  }

  #wishesOf(hold: GuardedHold): readonly GuardWish[] {
    const { id, owner, witness, guarantees } = hold;
    const action = this.#actionFor(hold);
    if (action === 'ignore' || !isStoppable(owner.pid)) return [];
    const process = { ...witnessed(owner, witness), action };
    return guarantees.map((guarantee, n) => ({ process, guarantee, for: nameOf(id, n) }));
  }

  #remove(id: string, from: number): void {
    const count = this.#listed.get(id) ?? 0;
    for (let n = from; n < count; n++) this.#options.guard.remove(nameOf(id, n));
  }
}

/** One that is not may have asked while nothing was to be done to it: the daemon can be set to something else by now. */
function isStoppable(pid: number): boolean {
  return pid !== init && !ownProcesses().some((own) => own.pid === pid);
}

function witnessed({ pid, startTime }: NamedProcess, witness: string | undefined): WitnessedProcess {
  return { pid, startTime, ...(witness === undefined ? {} : { witness }) };
}

function nameOf(id: string, n: number): string {
  return `${id} ${n}`;
}

/** None where it is lost before its time: then somebody else may have it already. */
function headStartMs({ times: { loseAtMs, killAtMs } }: Guarantee): number {
  return boottimeMs() < loseAtMs ? 0 : (killAtMs - loseAtMs) * headStart;
}

function byKill(one: Guarantee['times'], other: Guarantee['times']): number {
  return one.killAtMs - other.killAtMs;
}
