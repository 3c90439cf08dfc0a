/**
 * The manager: from what a caller gives to a hold, with the drivers that were chosen.
 * What `run` of a free disk does not need is imported where it is needed: a command has to start fast.
 */
import { join } from 'node:path';
import type { ClusterHold, Driver } from '../driver/contract.js';
import { HoldfastError, isHoldfastError } from '../errors.js';
import { makePlan, withoutName } from '../plan/make-plan.js';
import type { PlanOptions } from '../plan/plan-options.js';
import { isoTime } from '../system/clock.js';
import { privateDirectory, runtimeDirectory } from '../system/runtime-directory.js';
import type { GuestDescription, Plan } from '../vocabulary.js';
import { aborted, inTime, joinSignals } from './abort.js';
import { acquirePlan, type AcquireContext, type AcquiredPlan } from './acquire-plan.js';
import type { CheckedPlan } from './check-plan.js';
import { ChosenDrivers, type ManagerOptions } from './chosen-drivers.js';
import type { BrokenLock, DeathOfHost } from './cluster-locks.js';
import type { Configuration } from './configuration.js';
import type { DescribedDriver } from './driver-abilities.js';
import { describeGuest, type GuestInput } from './guest-input.js';
import { holdKeeper, type HoldOffice } from './hold-office.js';
import { Hold, type HoldContents } from './hold.js';
import {
  newHoldId,
  readLiveRecords,
  removeSomeDead,
  recordOf,
  writeRecord,
  type HoldRecord,
  type LiveRecord,
  type WrittenRecord,
} from './hold-record.js';
import type { ListedHold } from './list-holds.js';
import { requireLockOptions, type LockOptions } from './lock-options.js';
import { wantedLossAction, type WantedLossAction } from './loss-action.js';
import type { LookOptions, Lookout, ResourceUse } from './who.js';
import { ownerHere } from './owner.js';
import type { SavedHold } from './saved-hold.js';
import { waitFor, type Watch } from './wait-for.js';

/** For a holder that is just ending: its locks go some milliseconds after its descriptors, and later on a busy host. */
const endingPausesMs = [10, 20, 40, 80, 160];

export class Manager {
  readonly #chosen: ChosenDrivers;
  readonly #holds = new Map<string, Hold>();
  readonly #closing = new AbortController();
  readonly #holdsDirectory = join(runtimeDirectory(), 'holds');

  constructor(options: ManagerOptions) {
    this.#chosen = new ChosenDrivers(options);
  }

  /** The configuration in force. Throws `CONFIG`. */
  configuration(): Promise<Configuration> {
    return this.#chosen.configuration();
  }

  /** Whether what is locked with the drivers that were chosen ends by itself unless it is renewed. Throws what is wrong with them. */
  async renews(): Promise<boolean> {
    return (await this.#chosen.chain()).renews();
  }

  /** Whether something is done when a lock is lost though nobody was asked to stay beside the command; starts no driver. Throws as `renews`. */
  async heedsLoss(): Promise<boolean> {
    return (await this.#chosen.chain()).heedsLoss();
  }

  async #planOptions(allowUnlocked: boolean, hints: boolean): Promise<PlanOptions> {
    const { aliases, localFileSystems } = await this.configuration();
    return {
      allowUnlocked,
      hints,
      ...(aliases === undefined ? {} : { aliases }),
      ...(localFileSystems === undefined ? {} : { localFileSystems }),
    };
  }

  async #allowUnlocked(options: LockOptions): Promise<boolean> {
    return options.allowUnlocked ?? (await this.configuration()).allowUnlocked ?? false;
  }

  async #lossAction(
    guest: GuestDescription,
    { runs, onLost }: LockOptions,
  ): Promise<WantedLossAction | undefined> {
    return runs === undefined ? undefined : wantedLossAction(onLost, guest, await this.configuration());
  }

  /** The verdict on everything a guest uses, and whether it would be granted now. Takes nothing. */
  async plan(input: GuestInput, options: LockOptions = {}): Promise<CheckedPlan> {
    this.#requireOpen();
    const allowUnlocked = await this.#allowUnlocked(options);
    const guest = await describeGuest(input, options.signal);
    const plan = await makePlan(guest, await this.#planOptions(allowUnlocked, true));
    const { checkPlan } = await import('./check-plan.js');
    const records = options.explain === false ? undefined : await this.#records();
    const loss = await this.#lossAction(guest, options);
    const checked = await checkPlan(plan, await this.#chosen.chain(), { allowUnlocked, records, loss });
    const passedOver = (await this.configuration()).notes ?? [];
    return { ...checked, notes: [...checked.notes, ...passedOver, ...this.#chosen.unusedTables] };
  }

  /**
   * Locks everything a guest uses, all or nothing.
   * Throws `IN_USE` with the holders, `TIMEOUT`, `ABORTED`, and whatever is wrong with the input or a driver.
   */
  async lock(input: GuestInput, options: LockOptions = {}): Promise<Hold> {
    this.#requireOpen();
    requireLockOptions(options);
    const guest = await describeGuest(input, options.signal);
    // A command may take its locks along and leave its record behind; this process's own holds do not.
    if (options.command !== undefined) await this.#tidy(removeSomeDead(this.#holdsDirectory));
    const acquired = await this.#acquire(guest, options, undefined);
    return this.#keep(acquired, options);
  }

  async #acquire(
    guest: GuestDescription,
    options: LockOptions,
    before: AcquireContext['before'],
  ): Promise<AcquiredPlan> {
    const { waitMs } = await this.configuration();
    const allowUnlocked = await this.#allowUnlocked(options);
    const planOptions = await this.#planOptions(allowUnlocked, options.command !== undefined);
    const chain = await this.#chosen.chain();
    const { signal, leave } = joinSignals(options.signal, this.#closing.signal);
    let plan: Plan | undefined;
    const loss = await this.#lossAction(guest, options);
    const context = {
      chain,
      owner: ownerHere(guest.owner, options.process),
      makePlan: async () => (plan = await makePlan(guest, planOptions)),
      allowUnlocked,
      looksForUses: !(allowUnlocked && options.explain === false),
      signal,
      unlockOnRelease: options.unlockOnRelease ?? false,
      ...(options.onProgress === undefined ? {} : { progress: options.onProgress }),
      ...(options.runs === undefined ? {} : { runs: options.runs }),
      ...(loss === undefined ? {} : { loss }),
      before,
    };
    const attempt = async (explain: boolean, round = 0): Promise<AcquiredPlan> => {
      try {
        return await inTime(await acquirePlan(context), signal);
      } catch (error) {
        if (!explain || options.explain === false || plan === undefined || !isHoldfastError(error, 'IN_USE'))
          throw error;
        const { explainRefusal, isBackedByNobody } = await import('./explain-refusal.js');
        const refused = await explainRefusal(error, plan.requests, await this.#records());
        const pauseMs = endingPausesMs[round];
        if (pauseMs === undefined || !isBackedByNobody(refused)) throw refused;
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
      if (signal.aborted) throw aborted(signal);
      return attempt(explain, round + 1);
    };
    const waitOptions = { ...options, wait: options.wait ?? waitMs ?? false };
    const worthAsking = (over: AbortSignal, watch: Watch): Promise<void> =>
      chain.wait(context.owner, plan?.requests ?? [], over, watch);
    return waitFor(attempt, waitOptions, worthAsking, signal).finally(leave);
  }

  async #keep({ owner, plan, held, undo, notes }: AcquiredPlan, options: LockOptions): Promise<Hold> {
    const passedOver = (await this.configuration()).notes ?? [];
    const contents = {
      id: newHoldId(),
      owner,
      since: isoTime(),
      plan,
      held,
      // A driver that plans as well (holdfastd) may have noticed the same.
      notes: [...new Set([...passedOver, ...plan.notes, ...notes])],
    };
    try {
      if (this.#closing.signal.aborted) throw aborted(this.#closing.signal);
      if (options.signal?.aborted === true) throw aborted(options.signal);
      const directory = privateDirectory(this.#holdsDirectory);
      const record = writeRecord(directory, recordOf(contents, options.command));
      return this.#open({ ...contents, recordDescriptor: record.fd }, record, options);
    } catch (error) {
      await undo();
      throw error;
    }
  }

  #open(contents: HoldContents, record: WrittenRecord, options: LockOptions): Hold {
    const hold = new Hold(contents, holdKeeper(this.#office, record, options));
    this.#holds.set(hold.id, hold);
    return hold;
  }

  readonly #office: HoldOffice = {
    acquire: (guest, options, before) => this.#acquire(guest, options, before),
    release: async (held) => (await this.#chosen.chain()).release(held),
    explained: async (error, requests) => {
      if (!isHoldfastError(error, 'IN_USE')) return error;
      const { explainRefusal } = await import('./explain-refusal.js');
      return explainRefusal(error, requests, await this.#records());
    },
    forget: (id) => this.#holds.delete(id),
  };

  /**
   * Takes up a hold of a process that has ended: what `hold.save()` gave, and the hold's descriptors in their order, which
   * are its from then on; none if nobody was left to keep them, and then it is locked again. `leaving`: what was just
   * being given back (`shrink`), which is finished. Throws `IN_USE` or `LOST` where somebody else has a part of it,
   * `UNSUPPORTED`; then the descriptors are the caller's still.
   */
  async adopt(
    saved: SavedHold,
    descriptors: readonly number[],
    leaving: readonly string[] = [],
  ): Promise<Hold> {
    this.#requireOpen();
    const own = await (await this.#chosen.chain()).started();
    const others = await this.#chosen.ofRecords();
    const { adoptHold, withoutLeaving } = await import('./adopt-hold.js');
    const directory = privateDirectory(this.#holdsDirectory);
    const take = async (hold: SavedHold): Promise<Hold> => {
      const adopted = await adoptHold(hold, descriptors, directory, (name) => others.started(name, own));
      return this.#open(adopted.contents, adopted.record, { unlockOnRelease: true });
    };
    let hold: Hold;
    try {
      hold = await take(saved);
    } catch (error) {
      if (leaving.length === 0 || !isHoldfastError(error, 'IN_USE')) throw error;
      return take(withoutLeaving(saved, leaving));
    }
    // A name that it does not have was refused when it was asked for, or is gone already.
    const left = leaving.filter((name) => withoutName(hold.plan, name) !== undefined);
    if (left.length > 0) await hold.shrink(left);
    return hold;
  }

  /**
   * Who holds or uses what an input is made of, as far as can be seen from here; this process itself is left out.
   * Takes nothing. Throws `NO_SUCH_FILE` and what else is wrong with the input.
   */
  async who(input: GuestInput, options: LookOptions = {}): Promise<readonly ResourceUse[]> {
    const lookout = await this.#lookout(input, options);
    const uses = await (await import('./who.js')).look(lookout, options);
    const { notes = [] } = await this.configuration();
    return uses.map((use, index) => (index === 0 ? { ...use, notes: [...notes, ...use.notes] } : use));
  }

  /** The same at once, and then each time that it has changed, until the signal is aborted. Throws what `who` throws. */
  async *watch(input: GuestInput, options: LookOptions = {}): AsyncGenerator<readonly ResourceUse[], void> {
    const lookout = await this.#lookout(input, options);
    const { signal, leave } = joinSignals(options.signal, this.#closing.signal);
    try {
      yield* (await import('./watch-holders.js')).watchHolders(lookout, signal);
    } finally {
      leave();
    }
  }

  async #lookout(input: GuestInput, { signal }: LookOptions): Promise<Lookout> {
    this.#requireOpen();
    return {
      guest: await describeGuest(input, signal),
      planOptions: await this.#planOptions(false, false),
      chain: await this.#chosen.chain(),
      records: () => this.#records(),
      folders: [this.#holdsDirectory],
    };
  }

  /** The holds of this user on this host that are really locked; records of dead ones are removed. */
  async holds(): Promise<ListedHold[]> {
    this.#requireOpen();
    const live = await this.#records();
    const { listHolds } = await import('./list-holds.js');
    return listHolds(live, await this.#driversOfRecords());
  }

  /** Every hold in the cluster of the drivers that were chosen, by host and name. Throws `UNSUPPORTED`, `CLUSTER_...`. */
  async clusterHolds(): Promise<readonly ClusterHold[]> {
    this.#requireOpen();
    const { holdsInCluster } = await import('./cluster-locks.js');
    return holdsInCluster(await (await this.#chosen.chain()).started());
  }

  /**
   * Breaks the lock that somebody has in the cluster, by its label or identity there: if its lease is gone, or if `death` says that
   * its host is dead, which is kept in the cluster. Whoever takes it next has a larger token. Nobody has it: undefined.
   * Throws `IN_USE` without that evidence, `USAGE` for a name of several, `UNSUPPORTED`, `CLUSTER_...`.
   */
  async breakLock(name: string, death?: DeathOfHost): Promise<BrokenLock | undefined> {
    this.#requireOpen();
    const { breakInCluster } = await import('./cluster-locks.js');
    return breakInCluster(await (await this.#chosen.chain()).started(), name, death);
  }

  /** Records of holds that live; what dead ones left behind is removed. */
  async #records(): Promise<LiveRecord[]> {
    const dead: HoldRecord[] = [];
    const live = readLiveRecords(this.#holdsDirectory, (record) => dead.push(record));
    await this.#tidy(dead);
    return live;
  }

  async #tidy(dead: readonly HoldRecord[]): Promise<void> {
    if (dead.length === 0) return;
    const driverOf = await this.#driversOfRecords();
    for (const { drivers, requests } of dead) {
      for (const name of drivers) await (await driverOf(name))?.tidy?.(requests);
    }
  }

  async #driversOfRecords(): Promise<(name: string) => Promise<Driver | undefined>> {
    // What is held is shown even where the driver that was chosen here does not start.
    const own = await this.#chosen.chain().then(
      (chain) => chain.started(),
      () => [],
    );
    const drivers = await this.#chosen.ofRecords();
    return (name) => drivers.of(name, own);
  }

  /**
   * Every driver that was found, in the order in which they win, and what each can do. `names`: only these are started to
   * see what they can.
   */
  async drivers(names?: readonly string[]): Promise<DescribedDriver[]> {
    return this.#chosen.describe(names);
  }

  #requireOpen(): void {
    if (this.#closing.signal.aborted) throw new HoldfastError('ENDED', 'the manager was closed already');
  }

  /** Releases what it still holds, gives up what it waits for, and ends its drivers. Twice is no error. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new HoldfastError('ABORTED', 'the manager was closed; nothing is held'));
    const endings = await Promise.allSettled([...this.#holds.values()].map((hold) => hold.release()));
    await this.#chosen.end();
    const failed = endings.find((ending) => ending.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Opens a manager. Nothing is started or read before its first use. */
export function openManager(options: ManagerOptions = {}): Manager {
  return new Manager(options);
}
