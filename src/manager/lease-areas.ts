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
import { leaseSizeRule, readLeaseSize, splitLeasePlace } from '../input/lease-words.js';
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
  const { force = false, sectorBytes, bytes, ...rest } = options;
  const form = {
    ...(sectorBytes === undefined ? {} : { sectorBytes }),
    ...(bytes === undefined ? {} : { bytes }),
  };
  return withDriver(rest, 'makeLease', (driver) => driver.makeLease(area, { force, ...form }));
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

const areaForm = 'LOCKSPACE:NAME:PATH[:OFFSET], or LOCKSPACE:PATH[:OFFSET] for a lockspace';

/**
 * Reads `LOCKSPACE:NAME:PATH[:OFFSET]`, or `LOCKSPACE:PATH[:OFFSET]` for a lockspace itself. PATH has a slash, or it would be a
 * name; a colon in it has a backslash before it, or an offset behind it all.
 * @throws HoldfastError USAGE
 */
export function parseLeaseArea(text: string): LeaseArea {
  const [lockspace = '', second = '', ...rest] = splitLeasePlace(text);
  const isLockspace = second.includes('/');
  const behind = isLockspace ? [second, ...rest] : rest;
  const last = behind.length > 1 ? behind.at(-1) : undefined;
  const path = (last === undefined ? behind : behind.slice(0, -1)).join(':');
  const offset = last === undefined ? 0 : readLeaseSize(last);
  const wrong = (fault: string, rule = ''): HoldfastError =>
    new HoldfastError('USAGE', `"${text}" is no place of a lease: ${fault}`, {
      remedy: `Write ${areaForm}. ${rule}`.trimEnd(),
    });
  if (lockspace === '' || (!isLockspace && second === '')) throw wrong('a name is missing');
  if (path === '' || path.includes('\0')) {
    throw wrong('there is no path', 'A path behind a lockspace, or alone, has a slash in it: ./FILE');
  }
  if (last === 'SH') throw wrong('whether it is shared is said by whoever takes it', 'Leave out the :SH.');
  if (offset === undefined) throw wrong(`"${last}" is no offset`, leaseSizeRule);
  return { lockspace, ...(isLockspace ? {} : { name: second }), path: resolve(path), offset };
}

/**
 * What `holdfast lease show` is given: `PATH[:OFFSET]`, or an area as `parseLeaseArea` reads it. A path of its own begins with a
 * slash or dot.
 */
export function parseLeasePlace(text: string): LeasePlace | LeaseArea {
  const isPath = /^\.{0,2}\//.test(text) || !text.includes(':');
  if (!isPath) return parseLeaseArea(text);
  const parts = splitLeasePlace(text);
  const offset = parts.length > 1 ? readLeaseSize(parts.at(-1) ?? '') : undefined;
  const path = (offset === undefined ? parts : parts.slice(0, -1)).join(':');
  return { path: resolve(path), ...(offset === undefined ? {} : { offset }) };
}
