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
import type { NamedProcess, WitnessedProcess } from '../../guard/guard-words.js';
import { boottimeMs } from '../../system/boot-clock.js';
import type { GuardWish, HostGuard } from './host-guard.js';
import { ownProcesses } from './own-processes.js';
import { stopGuest, type GuestAction } from './stop-guest.js';

/** Of a hold, what this is about. */
export interface GuardedHold {
  readonly id: string;
  readonly owner: NamedProcess;
  /** Locked by whoever has what the owner had, also when that one has ended. */
  readonly witness: string | undefined;
  /** Of its grants: the same objects as long as they are renewed together. */
  readonly guarantees: readonly Guarantee[];
}

export type HoldGuardEvent = 'hold left to the next daemon' | 'owner stopped';

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

  constructor(options: HoldGuardOptions) {
    this.#options = options;
  }

  /** Whether the end of the hold's lock ends its owner. */
  guards({ guarantees }: Pick<GuardedHold, 'guarantees'>): boolean {
    return guarantees.length > 0 && this.#options.onLost !== 'ignore';
  }

  /** Throws `BAD_DATA` for an owner that nothing may end. */
  requireStoppable(hold: Pick<GuardedHold, 'guarantees'>, { pid }: NamedProcess): void {
    if (!this.guards(hold) || (pid !== init && !ownProcesses().some((own) => own.pid === pid))) return;
    throw new HoldfastError(
      'BAD_DATA',
      `process ${pid} cannot hold locks of a cluster: it could not be ended when they are lost`,
      { remedy: 'Name the process that uses the disks.' },
    );
  }

  /** To be called again after each change of a hold; returns when the guard knows of it. Throws `DRIVER_FAILED` where there is none. */
  async add(holds: readonly GuardedHold[]): Promise<void> {
    const wishes = holds.filter((hold) => this.guards(hold)).flatMap((hold) => this.#wishesOf(hold));
    for (const { id, guarantees } of holds) {
      const count = this.guards({ guarantees }) ? guarantees.length : 0;
      this.#remove(id, count);
      if (count > 0) this.#listed.set(id, count);
    }
    await this.#options.guard.add(wishes);
  }

  remove(id: string): void {
    this.#remove(id, 0);
    this.#listed.delete(id);
  }

  /**
   * The lock of a hold is lost. `isStillHeld` is asked when there was time to give it back.
   * @param hold without guarantees: somebody else has what it had, and there is no time left
   */
  lost(
    hold: Omit<GuardedHold, 'guarantees'> & Partial<GuardedHold>,
    isStillHeld: () => boolean = () => true,
  ): void {
    const { onLost, tell } = this.#options;
    const { id, guarantees } = hold;
    if (onLost === 'ignore' || (guarantees !== undefined && guarantees.length === 0)) return;
    const stop = (): void => {
      if (!isStillHeld()) return;
      // Whoever has it by now.
      const { owner, witness } = hold;
      tell('owner stopped', { hold: id, pid: owner.pid, action: onLost });
      stopGuest(witnessed(owner, witness), onLost, guarantees?.map(({ times }) => times).toSorted(byKill)[0]);
    };
    const waitMs = Math.min(...(guarantees ?? []).map(headStartMs));
    if (Number.isFinite(waitMs) && waitMs > 0) setTimeout(stop, waitMs).unref();
    else stop();
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

  #wishesOf({ id, owner, witness, guarantees }: GuardedHold): readonly GuardWish[] {
    const { onLost } = this.#options;
    if (onLost === 'ignore') return [];
    const process = { ...witnessed(owner, witness), action: onLost };
    return guarantees.map((guarantee, n) => ({ process, guarantee, for: nameOf(id, n) }));
  }

  #remove(id: string, from: number): void {
    const count = this.#listed.get(id) ?? 0;
    for (let n = from; n < count; n++) this.#options.guard.remove(nameOf(id, n));
  }
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
