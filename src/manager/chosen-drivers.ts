/** Which drivers were chosen, by the caller or the configuration, with which settings; each is started at its first use. */
import type { DriverFactory, DriverSettings } from '../driver/contract.js';
import type { PlaceOptions } from '../driver/places.js';
import { HoldfastError } from '../errors.js';
import { readConfiguration, type Configuration } from './configuration.js';
import type { DescribedDriver } from './driver-abilities.js';
import { DriverChain, type ExplainFault } from './driver-chain.js';
import { driverSettings } from './driver-settings.js';
import { RecordDrivers } from './record-drivers.js';

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

export class ChosenDrivers {
  readonly #options: ManagerOptions;
  #configuration: Promise<Configuration> | undefined;
  #chain: Promise<DriverChain> | undefined;
  #recordDrivers: Promise<RecordDrivers> | undefined;
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

  chain(): Promise<DriverChain> {
    return (this.#chain ??= this.#openChain());
  }

  /** Those that holds of this host were taken with, whichever were chosen here. */
  ofRecords(): Promise<RecordDrivers> {
    return (this.#recordDrivers ??= this.#openRecordDrivers());
  }

  /** Notes on tables of the configuration that are for no driver of this host. */
  get unusedTables(): readonly string[] {
    return this.#unusedTables;
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

  async #openRecordDrivers(): Promise<RecordDrivers> {
    return new RecordDrivers(this.#places(), await this.#settings());
  }

  async #settings(): Promise<Readonly<Record<string, DriverSettings>>> {
    return driverSettings(await this.configuration(), this.#options);
  }

  #places(): PlaceOptions {
    const { driverPath } = this.#options;
    return driverPath === undefined ? {} : { path: driverPath };
  }

  /** See `Manager.drivers`. */
  async describe(names?: readonly string[]): Promise<DescribedDriver[]> {
    await this.#checkTables([]);
    const { describeDrivers } = await import('./driver-abilities.js');
    return describeDrivers(this.#places(), await this.#settings(), this.#explain, names);
  }

  async end(): Promise<void> {
    await (await this.#chain?.catch(() => undefined))?.end();
    await (await this.#recordDrivers?.catch(() => undefined))?.end();
  }
}

/** Only who has something to explain loads it. */
const faults = (): Promise<typeof import('./configuration-faults.js')> => import('./configuration-faults.js');
