/** Leases on shared storage: making and reading them, through whichever driver has such. */
import { resolve } from 'node:path';
import type {
  Driver,
  FoundLeaseArea,
  LeaseArea,
  LeasePlace,
  MadeLeaseArea,
  MakeLeaseOptions,
} from '../driver/contract.js';
import { HoldfastError } from '../errors.js';
import { ChosenDrivers, type ManagerOptions } from './chosen-drivers.js';

/** The driver is sanlock's unless another one is named: leases are made before any configuration says to use them. */
export type LeaseOptions = ManagerOptions;

/**
 * Makes a lease that nobody has, or a lockspace.
 * @throws HoldfastError IN_USE, USAGE, NOT_PERMITTED, DRIVER_FAILED, UNSUPPORTED
 */
export function makeLease(
  area: LeaseArea,
  options: LeaseOptions & Partial<MakeLeaseOptions> = {},
): Promise<MadeLeaseArea> {
  const { force = false, ...rest } = options;
  return withDriver(rest, 'makeLease', (driver) => driver.makeLease(area, { force }));
}

/**
 * The leases and lockspaces in a file or device; with an offset, the one there.
 * @throws HoldfastError NO_SUCH_FILE, NOT_A_DISK, DRIVER_FAILED, UNSUPPORTED
 */
export function readLeases(
  place: LeasePlace,
  options: LeaseOptions = {},
): Promise<readonly FoundLeaseArea[]> {
  return withDriver(options, 'readLeases', (driver) => driver.readLeases(place));
}

type Ability = 'makeLease' | 'readLeases';

async function withDriver<Name extends Ability, Result>(
  options: LeaseOptions,
  ability: Name,
  work: (driver: Driver & Required<Pick<Driver, Name>>) => Promise<Result>,
): Promise<Result> {
  const chosen = new ChosenDrivers({ driver: 'sanlock', ...options });
  try {
    const started = await (await chosen.chain()).started();
    const found = started.find(({ driver }) => driver[ability] !== undefined)?.driver;
    if (found !== undefined) return await work(found as Driver & Required<Pick<Driver, Name>>);
    const names = started.map(({ about }) => about.name).join(', ');
    throw new HoldfastError('UNSUPPORTED', `the drivers in use (${names}) have no leases on storage`, {
      remedy: 'Name one that has: --driver sanlock.',
    });
  } finally {
    await chosen.end();
  }
}

const areaForm = 'LOCKSPACE:NAME:PATH[:OFFSET], or LOCKSPACE:PATH for a lockspace';

/**
 * Reads `LOCKSPACE:NAME:PATH[:OFFSET]`, or `LOCKSPACE:PATH[:OFFSET]` for a lockspace itself. PATH has a slash, or it would be a
 * name; one that ends in a colon and digits needs the offset behind it.
 * @throws HoldfastError USAGE
 */
export function parseLeaseArea(text: string): LeaseArea {
  const [lockspace = '', second = '', ...rest] = text.split(':');
  const isLockspace = second.includes('/');
  const behind = isLockspace ? [second, ...rest] : rest;
  const last = behind.at(-1) ?? '';
  const hasOffset = behind.length > 1 && /^\d+$/.test(last);
  const path = (hasOffset ? behind.slice(0, -1) : behind).join(':');
  const offset = hasOffset ? Number(last) : 0;
  const fault =
    lockspace === '' || (!isLockspace && second === '')
      ? 'a name is missing'
      : path === '' || path.includes('\0')
        ? 'there is no path'
        : Number.isSafeInteger(offset)
          ? undefined
          : 'the offset is too large';
  if (fault !== undefined) {
    throw new HoldfastError('USAGE', `"${text}" is no place of a lease: ${fault}`, {
      remedy: `Write ${areaForm}.`,
    });
  }
  return { lockspace, ...(isLockspace ? {} : { name: second }), path: resolve(path), offset };
}

/** What `holdfast lease show` is given: a path, or an area as `parseLeaseArea` reads it. A path of its own begins with a slash or dot. */
export function parseLeasePlace(text: string): LeasePlace | LeaseArea {
  const isPath = /^\.{0,2}\//.test(text) || !text.includes(':');
  return isPath ? { path: resolve(text) } : parseLeaseArea(text);
}
