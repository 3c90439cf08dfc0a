/**
 * The manager: from what a caller gives to a hold, with the drivers that were chosen.
 * What `run` of a free disk does not need is imported where it is needed: a command has to start fast.
 */
import { join } from 'node:path';
import type { Driver, DriverFactory, DriverSettings } from '../driver/contract.js';
import type { PlaceOptions } from '../driver/places.js';
import { HoldfastError, isHoldfastError } from '../errors.js';
import { makePlan, withoutName } from '../plan/make-plan.js';
import type { PlanOptions } from '../plan/plan-options.js';
import { isoTime } from '../system/clock.js';
import { privateDirectory, runtimeDirectory } from '../system/runtime-directory.js';
import type { GuestDescription, Plan } from '../vocabulary.js';
import { aborted, joinSignals } from './abort.js';
import { acquirePlan, type AcquireContext, type AcquiredPlan } from './acquire-plan.js';
import type { CheckedPlan } from './check-plan.js';
import { readConfiguration, type Configuration } from './configuration.js';
import type { DescribedDriver } from './driver-abilities.js';
import { DriverChain, type ExplainFault } from './driver-chain.js';
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
import type { LookOptions, Lookout, ResourceUse } from './who.js';
import { ownerHere } from './owner.js';
import { RecordDrivers } from './record-drivers.js';
import type { SavedHold } from './saved-hold.js';
import { waitFor } from './wait-for.js';

export interface ManagerOptions {
  /** One driver or an ordered list, by name or as what `defineDriver` gave. Default: the configuration's, else `fcntl`. */
  readonly driver?: string | DriverFactory | readonly (string | DriverFactory)[];
  /** Settings by driver name; they win over the configuration's. */
  readonly settings?: Readonly<Record<string, DriverSettings>>;
  /** A configuration file instead of the usual ones; false: none at all. */
  readonly configuration?: string | false;
  /** Folders for drivers, separated by colons, instead of `$HOLDFAST_DRIVER_PATH`. */
  readonly driverPath?: string;
  /** QEMU's own lock bytes: tested (default), held as well for commands that are not QEMU, or left alone. */
  readonly qemuLock?: 'check' | 'hold' | 'off';
}

/** For a holder that is just ending: its locks go some milliseconds after its descriptors, and later on a busy host. */
const endingPausesMs = [10, 20, 40, 80, 160];

export class Manager {
  readonly #options: ManagerOptions;
  #configuration: Promise<Configuration> | undefined;
  #chain: Promise<DriverChain> | undefined;
  readonly #holds = new Map<string, Hold>();
  readonly #closing = new AbortController();
  readonly #holdsDirectory = join(runtimeDirectory(), 'holds');
  #recordDrivers: Promise<RecordDrivers> | undefined;
  /** Notes on tables of the configuration that are for no driver of this host. */
  #unusedTables: readonly string[] = [];

  constructor(options: ManagerOptions) {
    this.#options = options;
  }

  /** The configuration in force. Throws `CONFIG`. */
  configuration(): Promise<Configuration> {
    return (this.#configuration ??= this.#readConfiguration());
  }

  #readConfiguration(): Promise<Configuration> {
    const { configuration } = this.#options;
    if (configuration === false) return Promise.resolve({ files: [] });
    return readConfiguration(configuration === undefined ? {} : { file: configuration });
  }

  #drivers(): Promise<DriverChain> {
    return (this.#chain ??= this.#openChain());
  }

  async #openChain(): Promise<DriverChain> {
    const configuration = await this.configuration();
    const selection = this.#options.driver ?? configuration.drivers ?? ['fcntl'];
    const list = typeof selection === 'string' || 'about' in selection ? [selection] : selection;
    if (list.length === 0) throw new HoldfastError('USAGE', 'the list of drivers is empty');
    const names = list.map((one) => (typeof one === 'string' ? one : one.about.name));
    const twice = names.find((name, index) => names.indexOf(name) !== index);
    if (twice !== undefined) {
      if (this.#options.driver === undefined) throw await (await faults()).chosenTwice(twice, configuration);
      throw new HoldfastError('USAGE', `the driver ${twice} is chosen twice; it would stand in its own way`);
    }
    await this.#checkTables(names);
    return new DriverChain(list, await this.#settings(), this.#places(), this.#explain);
  }

  /** Settings for drivers that are neither chosen nor built in may be meant for one that is. */
  async #checkTables(chosen: readonly string[]): Promise<void> {
    const configuration = await this.configuration();
    const tables = Object.keys(configuration.driverSettings ?? {});
    if (tables.every((name) => chosen.includes(name))) return;
    this.#unusedTables = await (await faults()).unusedTables(configuration, chosen, this.#places());
  }

  /** An error of a driver with its place in the configuration, if that is to blame. */
  readonly #explain: ExplainFault = async (error, name) => {
    const { driver, settings, qemuLock } = this.#options;
    const own = { ...settings };
    if (qemuLock !== undefined) own['fcntl'] = { qemu_lock: qemuLock, ...own['fcntl'] };
    return (await faults()).explainDriverFault(error, name, {
      configuration: await this.configuration(),
      byConfiguration: driver === undefined,
      ownSettings: own,
      places: this.#places(),
    });
  };

  /** Whether what is locked with the drivers that were chosen ends by itself unless it is renewed. Throws what is wrong with them. */
  async renews(): Promise<boolean> {
    return (await this.#drivers()).renews();
  }

  async #openRecordDrivers(): Promise<RecordDrivers> {
    return new RecordDrivers(this.#places(), await this.#settings());
  }

  /** By driver: the configuration's, then the caller's. */
  async #settings(): Promise<Readonly<Record<string, DriverSettings>>> {
    const { driverSettings, qemuLock: configured, daemon } = await this.configuration();
    const merged: Record<string, DriverSettings> = { ...driverSettings };
    if (daemon?.apiSocket !== undefined)
      merged['holdfastd'] = { socket: daemon.apiSocket, ...merged['holdfastd'] };
    const qemuLock = this.#options.qemuLock ?? configured;
    if (qemuLock !== undefined) merged['fcntl'] = { ...merged['fcntl'], qemu_lock: qemuLock };
    for (const [name, own] of Object.entries(this.#options.settings ?? {}))
      merged[name] = { ...merged[name], ...own };
    return merged;
  }

  #places(): PlaceOptions {
    const { driverPath } = this.#options;
    return driverPath === undefined ? {} : { path: driverPath };
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

  /** The verdict on everything a guest uses, and whether it would be granted now. Takes nothing. */
  async plan(input: GuestInput, options: LockOptions = {}): Promise<CheckedPlan> {
    this.#requireOpen();
    const allowUnlocked = await this.#allowUnlocked(options);
    const guest = await describeGuest(input, options.signal);
    const plan = await makePlan(guest, await this.#planOptions(allowUnlocked, true));
    const { checkPlan } = await import('./check-plan.js');
    const records = options.explain === false ? undefined : await this.#records();
    const checked = await checkPlan(plan, await this.#drivers(), { allowUnlocked, records });
    const passedOver = (await this.configuration()).notes ?? [];
    return { ...checked, notes: [...checked.notes, ...passedOver, ...this.#unusedTables] };
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
    const chain = await this.#drivers();
    const { signal, leave } = joinSignals(options.signal, this.#closing.signal);
    let plan: Plan | undefined;
    const context = {
      chain,
      owner: ownerHere(guest.owner, options.process),
      makePlan: async () => (plan = await makePlan(guest, planOptions)),
      allowUnlocked,
      looksForUses: !(allowUnlocked && options.explain === false),
      signal,
      unlockOnRelease: options.unlockOnRelease ?? false,
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
    const worthAsking = (over: AbortSignal): Promise<void> =>
      chain.wait(context.owner, plan?.requests ?? [], over);
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
    release: async (held) => (await this.#drivers()).release(held),
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
    const own = await (await this.#drivers()).started();
    const others = await (this.#recordDrivers ??= this.#openRecordDrivers());
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
      chain: await this.#drivers(),
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
    const own = await this.#drivers().then(
      (chain) => chain.started(),
      () => [],
    );
    const drivers = await (this.#recordDrivers ??= this.#openRecordDrivers());
    return (name) => drivers.of(name, own);
  }

  /**
   * Every driver that was found, in the order in which they win, and what each can do. `names`: only these are started to
   * see what they can.
   */
  async drivers(names?: readonly string[]): Promise<DescribedDriver[]> {
    await this.#checkTables([]);
    const { describeDrivers } = await import('./driver-abilities.js');
    return describeDrivers(this.#places(), await this.#settings(), this.#explain, names);
  }

  #requireOpen(): void {
    if (this.#closing.signal.aborted) throw new HoldfastError('ENDED', 'the manager was closed already');
  }

  /** Releases what it still holds, gives up what it waits for, and ends its drivers. Twice is no error. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new HoldfastError('ABORTED', 'the manager was closed; nothing is held'));
    const endings = await Promise.allSettled([...this.#holds.values()].map((hold) => hold.release()));
    await (await this.#chain?.catch(() => undefined))?.end();
    await (await this.#recordDrivers?.catch(() => undefined))?.end();
    const failed = endings.find((ending) => ending.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Only who has something to explain loads it. */
const faults = (): Promise<typeof import('./configuration-faults.js')> => import('./configuration-faults.js');

/** Opens a manager. Nothing is started or read before its first use. */
export function openManager(options: ManagerOptions = {}): Manager {
  return new Manager(options);
}

/** What was granted after the caller gave up is given back: a lock that nobody waits for would stay for ever. */
async function inTime(acquired: AcquiredPlan, signal: AbortSignal): Promise<AcquiredPlan> {
  if (!signal.aborted) return acquired;
  await acquired.undo();
  throw aborted(signal);
}
