/**
 * An ordered list of drivers that together grant a hold: acquired in order, given back in reverse.
 * Here, and nowhere else, a grant that comes after its caller gave up is released.
 */
import type {
  AcquireOptions,
  Driver,
  DriverAbout,
  DriverFactory,
  DriverSettings,
  Grant,
} from '../driver/contract.js';
import { findDriver } from '../driver/discovery.js';
import type { PlaceOptions } from '../driver/places.js';
import { mapRequest } from '../driver/map-request.js';
import { lazyDriver, type LazyDriver } from '../driver/started-driver.js';
import { HoldfastError } from '../errors.js';
import type { ErrorCode, LockRequest, Owner } from '../vocabulary.js';
import { aborted } from './abort.js';
import type { Watch } from './wait-for.js';

export interface StartedDriver {
  readonly about: DriverAbout;
  readonly driver: Driver;
}

/** What one driver is asked for, in its own modes. */
interface Share extends StartedDriver {
  readonly requests: readonly LockRequest[];
}

/** Which driver locks what. */
export interface Assignment {
  readonly shares: readonly Share[];
  /** What no driver can lock, and why. */
  readonly unlockable: readonly {
    readonly request: LockRequest;
    readonly reason: string;
    readonly remedy?: string;
    /** A mistake of whoever asks: nobody can go on without that lock. */
    readonly code?: ErrorCode;
  }[];
  /** What drivers make of single requests. */
  readonly notes: readonly string[];
}

/** A grant with the driver that gave it. An extension replaces the grant in place, so that no copy of it is stale. */
export interface HeldGrant extends StartedDriver {
  grant: Grant;
  /** An extension that comes too late is being taken out again: until then the grant is not the one that counts. */
  settling?: Promise<unknown>;
}

/** What an acquire or an extension brought. */
export interface Acquisition {
  /** Grants of their own; what was added to a grant that there was is in that one. */
  readonly added: readonly HeldGrant[];
  /** Gives back what was brought, in reverse, and nothing else. */
  readonly undo: () => Promise<void>;
}

/** What discovery or the start of a driver threw, made plainer. */
export type ExplainFault = (error: unknown, driver: string) => Promise<unknown>;

interface Slot {
  readonly about: DriverAbout;
  readonly lazy: LazyDriver;
}

export class DriverChain {
  readonly #selection: readonly (string | DriverFactory)[];
  readonly #settings: Readonly<Record<string, DriverSettings>>;
  readonly #places: PlaceOptions;
  readonly #explain: ExplainFault;
  #slots: Promise<readonly Slot[]> | undefined;
  /** Releases of grants that came too late; `end` waits for them. */
  readonly #late = new Set<Promise<void>>();

  constructor(
    selection: readonly (string | DriverFactory)[],
    settings: Readonly<Record<string, DriverSettings>>,
    places: PlaceOptions = {},
    explain: ExplainFault = async (error) => error,
  ) {
    this.#explain = explain;
    this.#selection = selection;
    this.#settings = settings;
    this.#places = places;
  }

  /** The drivers, started at their first use. Throws what discovery or their start throws. */
  async started(): Promise<readonly StartedDriver[]> {
    const slots = await (this.#slots ??= this.#find());
    const started: StartedDriver[] = [];
    for (const { about, lazy } of slots) {
      started.push({ about, driver: await this.#explained(about.name, () => lazy.get()) });
    }
    return started;
  }

  /** Whether grants of one of them end by themselves; starts none. Throws what discovery throws. */
  async renews(): Promise<boolean> {
    return (await (this.#slots ??= this.#find())).some(({ about }) => about.renews === true);
  }

  /** Whether one of them needs somebody beside the command, or sees to a loss itself; starts none. Throws what discovery throws. */
  async heedsLoss(): Promise<boolean> {
    const slots = await (this.#slots ??= this.#find());
    return slots.some(
      ({ about }) => about.supervise || about.lossActions !== undefined || about.passesLossWish === true,
    );
  }

  async #explained<Result>(driver: string, step: () => Promise<Result>): Promise<Result> {
    try {
      return await step();
    } catch (error) {
      throw await this.#explain(error, driver);
    }
  }

  async #find(): Promise<readonly Slot[]> {
    try {
      const slots: Slot[] = [];
      for (const choice of this.#selection) {
        const factory =
          typeof choice === 'string'
            ? (await this.#explained(choice, () => findDriver(choice, this.#places))).factory
            : choice;
        slots.push({
          about: factory.about,
          lazy: lazyDriver(factory, this.#settings[factory.about.name] ?? {}),
        });
      }
      return slots;
    } catch (error) {
      this.#slots = undefined; // Whoever asks next looks again.
      throw error;
    }
  }

  /** Distributes requests: every driver gets all that it can lock. */
  async assign(requests: readonly LockRequest[]): Promise<Assignment> {
    const notes: string[] = [];
    const reasons = new Map<LockRequest, { reason: string; remedy?: string; code?: ErrorCode }>();
    const locked = new Set<LockRequest>();
    const shares = (await this.started()).map(({ about, driver }) => {
      const own = requests.flatMap((request) => {
        const mapped = mapRequest(about, driver, request);
        if (!mapped.can) {
          if (!reasons.has(request))
            reasons.set(request, { ...mapped, reason: `driver ${about.name}: ${mapped.reason}` });
          return [];
        }
        if (mapped.note !== undefined) notes.push(`${request.resource.label}: ${mapped.note}`);
        locked.add(request);
        return [mapped.mode === request.mode ? request : { ...request, mode: mapped.mode }];
      });
      return { about, driver, requests: own };
    });
    const unlockable = requests.flatMap((request) =>
      locked.has(request)
        ? []
        : [{ request, ...(reasons.get(request) ?? { reason: 'no driver is in use' }) }],
    );
    return { shares, unlockable, notes: [...new Set(notes)] };
  }

  /**
   * Acquires every share in order, or none. `before`: what the hold has already; a driver that can extends its
   * grant there. Throws what the driver throws, `ABORTED`, `DRIVER_BROKEN`.
   */
  async acquire(
    owner: Owner,
    shares: readonly Share[],
    options: AcquireOptions,
    before: readonly HeldGrant[] = [],
  ): Promise<Acquisition> {
    const added: HeldGrant[] = [];
    const undos: (() => Promise<void>)[] = [];
    const undo = (): Promise<void> => runAll(undos.toReversed());
    try {
      for (const share of shares) {
        const { about, driver, requests } = share;
        // What cannot be taken out of a grant again must not be put into it: the next driver may refuse.
        const extended = before.find((part) => part.driver === driver && driver.shrink !== undefined);
        if (extended !== undefined && driver.extend !== undefined) {
          undos.push(await this.#extend(extended, owner, requests, options));
        } else {
          const giveBack = (grant: Grant): Promise<void> => driver.release(grant);
          const acquiring = driver.acquire(owner, requests, options);
          const grant = await this.#inTime(acquiring, giveBack, options.signal);
          added.push({ about, driver, grant });
          undos.push(() => giveBack(grant));
          requireAll(about, requests, grant);
        }
      }
      return { added, undo };
    } catch (error) {
      await undo().catch(() => undefined); // The first error is the one that matters.
      throw error;
    }
  }

  /** Adds to a grant; gives what takes it out again. */
  async #extend(
    part: HeldGrant,
    owner: Owner,
    requests: readonly LockRequest[],
    options: AcquireOptions,
  ): Promise<() => Promise<void>> {
    const { about, driver } = part;
    const takeOut = async (grant: Grant): Promise<void> => {
      const identities = requests.map(({ resource }) => resource.identity);
      part.grant = (await driver.shrink?.(grant, identities)) ?? grant;
    };
    if (requests.length === 0 || driver.extend === undefined) return () => Promise.resolve();
    const extending = driver.extend(part.grant, owner, requests, options);
    part.grant = await this.#inTime(
      extending,
      takeOut,
      options.signal,
      (late) => void (part.settling = late),
    );
    const undo = (): Promise<void> => takeOut(part.grant);
    try {
      requireAll(about, requests, part.grant);
    } catch (error) {
      await undo();
      throw error;
    }
    return undo;
  }

  /** A grant, or `ABORTED` as soon as the caller gives up; what is granted after that is given back. */
  async #inTime(
    granting: Promise<Grant>,
    giveBack: (grant: Grant) => Promise<void>,
    signal: AbortSignal,
    whenLate: (late: Promise<unknown>) => void = () => undefined,
  ): Promise<Grant> {
    if (!signal.aborted && (await isSettledAtOnce(granting))) return granting;
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        const late = granting.then(giveBack, () => undefined);
        this.#late.add(late);
        whenLate(late);
        void late.catch(() => undefined).finally(() => this.#late.delete(late));
        reject(aborted(signal));
      };
      if (signal.aborted) return giveUp();
      signal.addEventListener('abort', giveUp, { once: true });
      const settle = (): void => signal.removeEventListener('abort', giveUp);
      granting.finally(settle).then(resolve, reject);
    });
  }

  /** Returns when a driver says that it is worth asking again; never, if none of them can tell. */
  async wait(
    owner: Owner,
    requests: readonly LockRequest[],
    signal: AbortSignal,
    watch: Watch = { isComplete: false },
  ): Promise<void> {
    const { shares } = await this.assign(requests);
    const waits = shares.flatMap(({ driver, requests }) => driver.wait?.(owner, requests, { signal }) ?? []);
    watch.isComplete = waits.length > 0 && waits.length === shares.length;
    // One that fails says nothing; the caller asks again all the same, after a while.
    const failed = (): Promise<void> => {
      watch.isComplete = false;
      return new Promise<void>(() => undefined);
    };
    await Promise.race(waits.map((wait) => wait.catch(failed)));
  }

  /** Gives back grants in reverse; tries all of them, then throws the first error. */
  release(held: readonly HeldGrant[]): Promise<void> {
    return runAll(held.toReversed().map((part) => () => releasePart(part)));
  }

  async end(): Promise<void> {
    await Promise.allSettled(this.#late);
    const slots = await this.#slots?.catch(() => []);
    for (const { lazy } of (slots ?? []).toReversed()) await lazy.end();
  }
}

/**
 * Whether a driver that waits for nothing has answered: then nobody has to listen to whether the caller gives up, which
 * costs 0.4 ms of a start.
 */
async function isSettledAtOnce(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const settle = (): void => {
    settled = true;
  };
  promise.then(settle, settle);
  // Runs when all that can go on without an event has gone on.
  await new Promise<void>((resolve) => process.nextTick(resolve));
  return settled;
}

async function releasePart(part: HeldGrant): Promise<void> {
  await part.settling?.catch(() => undefined);
  await part.driver.release(part.grant);
}

/** Does all of them, one after another; then throws the first error. */
async function runAll(works: readonly (() => Promise<void>)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const work of works) await work().catch((error: unknown) => errors.push(error));
  if (errors.length > 0) throw errors[0];
}

function requireAll(about: DriverAbout, asked: readonly LockRequest[], { requests }: Grant): void {
  const granted = new Map(requests.map(({ resource, mode }) => [resource.identity, mode]));
  const missing = asked.find(({ resource, mode }) => granted.get(resource.identity) !== mode);
  if (missing === undefined) return;
  throw new HoldfastError(
    'DRIVER_BROKEN',
    `driver ${about.name} said that it granted ${missing.resource.label} ${missing.mode}, but its grant does not have it`,
  );
}
