/** The drivers that records name: asked what is really locked, which may be others than those of this manager. */
import type { Driver, DriverAbout, DriverSettings } from '../driver/contract.js';
import { findDriver } from '../driver/discovery.js';
import type { PlaceOptions } from '../driver/places.js';
import { lazyDriver, type LazyDriver } from '../driver/started-driver.js';
import { isHoldfastError } from '../errors.js';
import type { StartedDriver } from './driver-chain.js';

interface FoundByName {
  readonly about: DriverAbout;
  readonly lazy: LazyDriver;
}

export class RecordDrivers {
  readonly #places: PlaceOptions;
  readonly #settings: Readonly<Record<string, DriverSettings>>;
  readonly #found = new Map<string, FoundByName>();

  constructor(places: PlaceOptions, settings: Readonly<Record<string, DriverSettings>>) {
    this.#places = places;
    this.#settings = settings;
  }

  /** A driver of that name, one of `own` if it is there; undefined if it is not installed here, or does not start. */
  async of(name: string, own: readonly StartedDriver[]): Promise<Driver | undefined> {
    try {
      return (await this.started(name, own)).driver;
    } catch (error) {
      if (isHoldfastError(error)) return undefined;
      throw error;
    }
  }

  /** The same, or why there is none: throws what discovery or its start throws. */
  async started(name: string, own: readonly StartedDriver[]): Promise<StartedDriver> {
    const started = own.find(({ about }) => about.name === name);
    if (started !== undefined) return started;
    const { about, lazy } = this.#found.get(name) ?? (await this.#find(name));
    return { about, driver: await lazy.get() };
  }

  async #find(name: string): Promise<FoundByName> {
    const { factory } = await findDriver(name, this.#places);
    const found = { about: factory.about, lazy: lazyDriver(factory, this.#settings[name] ?? {}) };
    this.#found.set(name, found);
    return found;
  }

  async end(): Promise<void> {
    for (const { lazy } of this.#found.values()) await lazy.end();
  }
}
