/** Whether what a driver module exports, and what its start gives, has the shape of the contract. */
import { HoldfastError } from '../errors.js';
import { modes } from '../vocabulary.js';
import type { Driver, DriverFactory, Grant } from './contract.js';

/** The functions that every driver has, for ever. */
export const minimumFunctions = [
  'acquire',
  'release',
  'holders',
] as const satisfies readonly (keyof Driver)[];

export type OptionalFunction = Exclude<keyof Driver, (typeof minimumFunctions)[number]>;

// A record, so that the compiler sees when a function of the contract is missing here.
const optional: Record<OptionalFunction, true> = {
  extend: true,
  shrink: true,
  reserve: true,
  suspend: true,
  resume: true,
  offer: true,
  accept: true,
  cancel: true,
  inquire: true,
  adopt: true,
  breakLock: true,
  clusterHolds: true,
  examine: true,
  makeLease: true,
  readLeases: true,
  wait: true,
  mapRequest: true,
  probe: true,
  notes: true,
  tidy: true,
  end: true,
};

/** The functions that a driver may have: it can do what is there. */
export const optionalFunctions = Object.keys(optional) as readonly OptionalFunction[];

const reaches = ['none', 'process', 'host', 'file system', 'cluster'];

/** Drivers are named in file names, package names and records: nothing that could lead elsewhere. */
export const driverNamePattern = /^[a-z][a-z0-9-]*$/;

/**
 * Checks a module's default export.
 * @throws HoldfastError DRIVER_BROKEN, saying what is missing.
 */
export function requireFactory(value: unknown, name: string, location: string): DriverFactory {
  const wrong = factoryFault(value, name);
  if (wrong === undefined) return value as DriverFactory;
  throw new HoldfastError('DRIVER_BROKEN', `driver ${name} (${location}): ${wrong}`, {
    remedy: 'Export what `defineDriver(about, start)` returns as the default; see docs/drivers.md.',
  });
}

function factoryFault(value: unknown, name: string): string | undefined {
  if (!isRecord(value) || (value['start'] === undefined && value['about'] === undefined))
    return 'it has no default export that is a driver (an object with `about` and `start`)';
  if (typeof value['start'] !== 'function') return 'its default export has no function `start`';
  const { about } = value;
  if (!isRecord(about)) return 'its default export has no `about`';
  if (about['name'] !== name) return `\`about.name\` is ${JSON.stringify(about['name'])}, not "${name}"`;
  if (!reaches.includes(about['reach'] as string)) return `\`about.reach\` is none of ${reaches.join(', ')}`;
  if (!isListOf(about['modes'], (mode) => (modes as readonly unknown[]).includes(mode))) {
    return `\`about.modes\` is no list of ${modes.join(', ')}`;
  }
  for (const field of ['guarantees', 'doesNotGuarantee']) {
    if (!isListOf(about[field], (line) => typeof line === 'string')) {
      return `\`about.${field}\` is no list of strings`;
    }
  }
  if (about['renews'] !== undefined && typeof about['renews'] !== 'boolean')
    return '`about.renews` is neither true nor false';
  return typeof about['supervise'] === 'boolean' ? undefined : '`about.supervise` is neither true nor false';
}

/**
 * Checks what a driver's start gave.
 * @throws HoldfastError DRIVER_BROKEN, saying which functions of the guaranteed minimum are missing.
 */
export function requireMinimum(driver: unknown, name: string): Driver {
  const functions = isRecord(driver) ? driver : {};
  const missing = minimumFunctions.filter((key) => typeof functions[key] !== 'function');
  const strange = optionalFunctions.filter(
    (key) => functions[key] !== undefined && typeof functions[key] !== 'function',
  );
  if (missing.length > 0) {
    throw broken(name, `it has no function ${missing.map((key) => `\`${key}\``).join(', ')}`);
  }
  if (strange.length > 0) {
    throw broken(name, `${strange.map((key) => `\`${key}\``).join(', ')} is there but is no function`);
  }
  return driver as Driver;
}

/**
 * Checks a grant, so that a slip of a driver shows where it was made.
 * @throws HoldfastError DRIVER_BROKEN
 */
export function requireGrant(grant: unknown, name: string, from: string): Grant {
  const fields = isRecord(grant) ? grant : {};
  const fault = !isRecord(grant)
    ? 'no grant'
    : !isListOf(fields['requests'], isRecord)
      ? 'a grant without `requests`'
      : !isListOf(fields['descriptors'], (fd) => Number.isSafeInteger(fd) && (fd as number) >= 0)
        ? 'a grant without `descriptors` (a list of numbers, empty if there are none)'
        : !isRecord(fields['tokens'])
          ? 'a grant without `tokens` (an object, empty if there are none)'
          : undefined;
  if (fault !== undefined) throw broken(name, `\`${from}\` gave ${fault}`);
  return grant as Grant;
}

function broken(name: string, message: string): HoldfastError {
  return new HoldfastError('DRIVER_BROKEN', `driver ${name}: ${message}`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function isListOf(value: unknown, is: (item: unknown) => boolean): boolean {
  return Array.isArray(value) && value.every(is);
}
