/** The drivers that records name: asked what is really locked, which may be others than those of this manager. */
import type { Driver, DriverSettings } from '../driver/contract.js';
import { findDriver } from '../driver/discovery.js';
import type { PlaceOptions } from '../driver/places.js';
import { lazyDriver, type LazyDriver } from '../driver/started-driver.js';
import { isHoldfastError } from '../errors.js';
import type { StartedDriver } from './driver-chain.js';

export class RecordDrivers {
  readonly #places: PlaceOptions;
  readonly #settings: Readonly<Record<string, DriverSettings>>;
  readonly #found = new Map<string, LazyDriver>();

  constructor(places: PlaceOptions, settings: Readonly<Record<string, DriverSettings>>) {
    this.#places = places;
    this.#settings = settings;
  }

  /** A driver of that name, one of `own` if it is there; undefined if it is not installed here, or does not start. */
  async of(name: string, own: readonly StartedDriver[]): Promise<Driver | undefined> {
    const started = own.find(({ about }) => about.name === name);
    if (started !== undefined) return started.driver;
    try {
      const lazy = this.#found.get(name) ?? (await this.#find(name));
      return await lazy.get();
    } catch (error) {
      if (isHoldfastError(error)) return undefined;
      throw error;
    }
  }

  async #find(name: string): Promise<LazyDriver> {
    const { factory } = await findDriver(name, this.#places);
    const lazy = lazyDriver(factory, this.#settings[name] ?? {});
    this.#found.set(name, lazy);
    return lazy;
  }

  async end(): Promise<void> {
    for (const lazy of this.#found.values()) await lazy.end();
  }
}
