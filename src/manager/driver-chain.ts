/**
 * An ordered list of drivers that together grant a hold: acquired in order, given back in reverse.
 * Here, and nowhere else, a grant that comes after its caller gave up is released.
 */
import type { Driver, DriverAbout, DriverFactory, DriverSettings, Grant } from '../driver/contract.js';
import { findDriver } from '../driver/discovery.js';
import { lazyDriver, type LazyDriver } from '../driver/started-driver.js';
import { HoldfastError } from '../errors.js';
import type { LockRequest, Owner } from '../vocabulary.js';
import { aborted } from './abort.js';

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
  }[];
  readonly notes: readonly string[];
}

/** A grant with the driver that gave it. */
export interface HeldGrant extends StartedDriver {
  readonly grant: Grant;
}

interface Slot {
  readonly about: DriverAbout;
  readonly lazy: LazyDriver;
}

export class DriverChain {
  readonly #selection: readonly (string | DriverFactory)[];
  readonly #settings: Readonly<Record<string, DriverSettings>>;
  readonly #driverPath: string | undefined;
  #slots: Promise<readonly Slot[]> | undefined;
  /** Releases of grants that came too late; `end` waits for them. */
  readonly #late = new Set<Promise<void>>();

  constructor(
    selection: readonly (string | DriverFactory)[],
    settings: Readonly<Record<string, DriverSettings>>,
    driverPath: string | undefined,
  ) {
    this.#selection = selection;
    this.#settings = settings;
    this.#driverPath = driverPath;
  }

  /** The drivers, started at their first use. Throws what discovery or their start throws. */
  async started(): Promise<readonly StartedDriver[]> {
    const slots = await (this.#slots ??= this.#find());
    const started: StartedDriver[] = [];
    for (const { about, lazy } of slots) started.push({ about, driver: await lazy.get() });
    return started;
  }

  async #find(): Promise<readonly Slot[]> {
    try {
      const slots: Slot[] = [];
      for (const choice of this.#selection) {
        const factory = typeof choice === 'string' ? await this.#named(choice) : choice;
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

  async #named(name: string): Promise<DriverFactory> {
    return (await findDriver(name, this.#driverPath === undefined ? {} : { path: this.#driverPath })).factory;
  }

  /** Distributes requests: every driver gets all that it can lock. */
  async assign(requests: readonly LockRequest[]): Promise<Assignment> {
    const notes: string[] = [];
    const reasons = new Map<LockRequest, { reason: string; remedy?: string }>();
    const locked = new Set<LockRequest>();
    const shares = (await this.started()).map(({ about, driver }) => {
      notes.push(...(driver.notes?.() ?? []));
      const own = requests.flatMap((request) => {
        const mapped = driver.mapRequest?.(request) ?? mapByModes(about, request);
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

  /** Acquires every share in order, or none. Throws what the driver throws, `ABORTED`, `DRIVER_BROKEN`. */
  async acquire(owner: Owner, shares: readonly Share[], signal: AbortSignal): Promise<readonly HeldGrant[]> {
    const held: HeldGrant[] = [];
    try {
      for (const { about, driver, requests } of shares) {
        const grant = await this.#inTime(driver, driver.acquire(owner, requests, { signal }), signal);
        held.push({ about, driver, grant });
        requireAll(about, requests, grant);
      }
      return held;
    } catch (error) {
      await this.release(held).catch(() => undefined); // The first error is the one that matters.
      throw error;
    }
  }

  /** A grant, or `ABORTED` as soon as the caller gives up; what is granted after that is given back. */
  #inTime(driver: Driver, granting: Promise<Grant>, signal: AbortSignal): Promise<Grant> {
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        const late = granting.then(
          (grant) => driver.release(grant),
          () => undefined,
        );
        this.#late.add(late);
        void late.catch(() => undefined).finally(() => this.#late.delete(late));
        reject(aborted(signal));
      };
      if (signal.aborted) return giveUp();
      signal.addEventListener('abort', giveUp, { once: true });
      const settle = (): void => signal.removeEventListener('abort', giveUp);
      granting.finally(settle).then(resolve, reject);
    });
  }

  /** Gives back grants in reverse; tries all of them, then throws the first error. */
  async release(held: readonly HeldGrant[]): Promise<void> {
    const errors: unknown[] = [];
    for (const { driver, grant } of held.toReversed()) {
      await driver.release(grant).catch((error: unknown) => errors.push(error));
    }
    if (errors.length > 0) throw errors[0];
  }

  async end(): Promise<void> {
    await Promise.allSettled(this.#late);
    const slots = await this.#slots?.catch(() => []);
    for (const { lazy } of (slots ?? []).toReversed()) await lazy.end();
  }
}

function mapByModes(
  about: DriverAbout,
  { mode, resource }: LockRequest,
): ReturnType<NonNullable<Driver['mapRequest']>> {
  if (about.modes.includes(mode)) return { can: true, mode };
  if (mode !== 'exclusive' && about.modes.includes('exclusive')) {
    return {
      can: true,
      mode: 'exclusive',
      note: `driver ${about.name} knows no mode '${mode}', so it is locked exclusively`,
    };
  }
  return { can: false, reason: `it knows no mode for ${resource.label} (${mode})` };
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
