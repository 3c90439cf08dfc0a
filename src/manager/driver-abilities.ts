/** What each driver can do beyond the guaranteed minimum: which of the optional functions it has once it is started. */
import type { DriverSettings } from '../driver/contract.js';
import { listDrivers, type ListedDriver } from '../driver/discovery.js';
import { optionalFunctions, type OptionalFunction } from '../driver/driver-shape.js';
import type { PlaceOptions } from '../driver/places.js';
import { lazyDriver } from '../driver/started-driver.js';
import type { ExplainFault } from './driver-chain.js';
import { causeText, HoldfastError, isHoldfastError } from '../errors.js';

/** A driver as `manager.drivers()` lists it. */
export type DescribedDriver = ListedDriver & {
  /** The optional functions of the contract that it has; missing if it is shadowed, broken, or was not started. */
  readonly abilities?: readonly OptionalFunction[];
  /** Why it could not be started here (an engine that does not answer). */
  readonly notStarted?: HoldfastError;
};

/**
 * Starts each driver that would be used, asks, and ends it. One that does not start is listed with the reason.
 * @param names those to start; default: all
 */
export async function describeDrivers(
  places: PlaceOptions,
  settings: Readonly<Record<string, DriverSettings>>,
  explain: ExplainFault,
  names?: readonly string[],
): Promise<DescribedDriver[]> {
  const described: DescribedDriver[] = [];
  for (const driver of await listDrivers(places)) {
    const starts = names === undefined || names.includes(driver.name);
    described.push(starts ? await describe(driver, settings[driver.name] ?? {}, explain) : driver);
  }
  return described;
}

async function describe(
  listed: ListedDriver,
  settings: DriverSettings,
  explain: ExplainFault,
): Promise<DescribedDriver> {
  if (listed.factory === undefined || listed.shadowed) return listed;
  try {
    const lazy = lazyDriver(listed.factory, settings);
    const driver = await lazy.get();
    const abilities = optionalFunctions.filter((name) => driver[name] !== undefined);
    await lazy.end();
    return { ...listed, abilities };
  } catch (thrown) {
    const error = await explain(thrown, listed.name);
    const message = `driver ${listed.name} cannot be started here: ${causeText(error)}`;
    const wrapped = isHoldfastError(error)
      ? error
      : new HoldfastError('DRIVER_FAILED', message, { cause: error });
    return { ...listed, notStarted: wrapped };
  }
}
