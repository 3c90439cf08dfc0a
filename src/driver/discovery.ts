/**
 * Finds drivers: built in, then npm `holdfast-driver-NAME`, then the system's folders, then
 * `$HOLDFAST_DRIVER_PATH`. The first found wins; the others of its name are listed as shadowed.
 */
import { HoldfastError, isHoldfastError } from '../errors.js';
import type { DriverAbout, DriverFactory } from './contract.js';
import { driverNamePattern } from './driver-shape.js';
import type { PlaceOptions } from './places.js';

/** Imported when they are asked for: a command that uses one driver does not pay for the others. */
const builtIn: Readonly<Record<string, () => Promise<{ default: DriverFactory }>>> = {
  nop: () => import('../drivers/nop/nop.js'),
  memory: () => import('../drivers/memory/memory.js'),
  fcntl: () => import('../drivers/fcntl/fcntl.js'),
  virtlockd: () => import('../drivers/virtlockd/virtlockd.js'),
  holdfastd: () => import('../drivers/holdfastd/holdfastd.js'),
  sanlock: () => import('../drivers/sanlock/sanlock.js'),
  etcd: () => import('../drivers/etcd/etcd.js'),
};

export const builtInDrivers: readonly string[] = Object.keys(builtIn);

export interface FoundDriver {
  readonly name: string;
  readonly from: 'built in' | 'npm' | 'folder';
  /** The file it was loaded from, symlinks resolved; `built in`. */
  readonly location: string;
  readonly about: DriverAbout;
  readonly factory: DriverFactory;
  /** Whether another driver of its name comes first. */
  readonly shadowed: boolean;
}

/** A line of the list: either it was loaded (`about`, `factory`), or it was not (`error`). */
export type ListedDriver =
  | (FoundDriver & { readonly error?: never })
  | (Pick<FoundDriver, 'name' | 'from' | 'location' | 'shadowed'> & {
      readonly about?: never;
      readonly factory?: never;
      readonly error: HoldfastError;
    });

/**
 * The driver of a name: the first in the order of the places. One that is unsafe or broken is an error and
 * never passed over, since what comes next would be another technology than the one that was chosen.
 * @throws HoldfastError DRIVER_UNKNOWN, DRIVER_UNSAFE, DRIVER_BROKEN, CONFIG
 */
export async function findDriver(name: string, options: PlaceOptions = {}): Promise<FoundDriver> {
  if (!driverNamePattern.test(name)) {
    throw new HoldfastError('DRIVER_UNKNOWN', `${JSON.stringify(name)} cannot be the name of a driver`, {
      remedy: 'Names of drivers have lower-case letters, digits and dashes.',
    });
  }
  if (builtInDrivers.includes(name)) return loadBuiltIn(name);
  const { candidates, loadDriver } = await outside();
  const [first] = await candidates(options, name);
  if (first !== undefined) return loadDriver(first, false);
  const { nearestWord } = await import('../nearest-word.js');
  const near = nearestWord(name, builtInDrivers);
  throw new HoldfastError('DRIVER_UNKNOWN', `There is no driver \`${name}\``, {
    remedy: `${near === undefined ? '' : `Did you mean \`${near}\`? `}Built in are ${builtInDrivers.join(', ')}; \`holdfast drivers\` shows all that were found. npm packages are called holdfast-driver-NAME and stand beside Holdfast's own.`,
  });
}

/**
 * Every driver in every place, in the order in which they win. One that cannot be loaded is listed with its
 * error and hides no other.
 * @throws HoldfastError CONFIG, NOT_PERMITTED if a place itself cannot be read
 */
export async function listDrivers(options: PlaceOptions = {}): Promise<ListedDriver[]> {
  const seen = new Set(builtInDrivers);
  const listed: ListedDriver[] = [];
  for (const name of builtInDrivers) listed.push(await loadBuiltIn(name));
  const { candidates, loadDriver } = await outside();
  for (const candidate of await candidates(options)) {
    const { name, from, file } = candidate;
    const shadowed = seen.has(name);
    seen.add(name);
    try {
      listed.push(await loadDriver(candidate, shadowed));
    } catch (error) {
      if (!isHoldfastError(error)) throw error;
      listed.push({ name, from, location: file, shadowed, error });
    }
  }
  return listed;
}

async function loadBuiltIn(name: string): Promise<FoundDriver> {
  const load = builtIn[name];
  if (load === undefined) throw new HoldfastError('INTERNAL', `${name} is not built in`);
  const { default: factory } = await load();
  return { name, from: 'built in', location: 'built in', about: factory.about, factory, shadowed: false };
}

/** What finds and loads drivers that are not built in; whoever uses none of them does not load it. */
async function outside(): Promise<typeof import('./places.js') & typeof import('./load-driver.js')> {
  return { ...(await import('./places.js')), ...(await import('./load-driver.js')) };
}
