/** The driver's settings: `[driver.sanlock]`, and what libvirt's own configuration says. */
import type { DriverSettings } from '../../driver/contract.js';
import { HoldfastError } from '../../errors.js';
import type { SanlockLockspace } from './client-structs.js';
import {
  hostIdMax,
  libvirtSanlockNames,
  readLibvirtSanlockSettings,
  type LibvirtSanlockSettings,
} from './libvirt-sanlock-settings.js';

/** Settings of Holdfast's own, besides those that libvirt has. */
const ownNames = ['lockspaces'] as const;

export interface SanlockSettings extends LibvirtSanlockSettings {
  /** Those that are joined here when a lease of them is wanted. Missing: none but libvirt's. */
  readonly lockspaces?: readonly SanlockLockspace[];
}

/** Throws `CONFIG` for a setting that does not exist or is not what it has to be. */
export function readSanlockSettings(given: DriverSettings): SanlockSettings {
  const known: readonly string[] = [...libvirtSanlockNames, ...ownNames];
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    const message = `driver sanlock: there is no setting '${unknown}'; there are ${known.join(', ')}`;
    throw new HoldfastError('CONFIG', message, { setting: unknown });
  }
  return { ...readLibvirtSanlockSettings(given), lockspaces: readLockspaces(given['lockspaces']) };
}

function readLockspaces(given: unknown): readonly SanlockLockspace[] {
  if (given === undefined) return [];
  const found = Array.isArray(given) ? given.map((one: unknown) => readLockspace(one)) : [undefined];
  if (found.every((one) => one !== undefined)) return found;
  const message = `driver sanlock: lockspaces must be a list of "LOCKSPACE:HOST_ID:PATH:OFFSET", but is ${JSON.stringify(given)}`;
  throw new HoldfastError('CONFIG', message, {
    setting: 'lockspaces',
    remedy:
      'As in `sanlock client add_lockspace -s`: HOST_ID is a number from 1 to 2000 that no other host has, PATH is absolute, a colon in it is written \\:.',
  });
}

/** As sanlock itself writes a lockspace. Undefined: it is none. */
function readLockspace(text: unknown): SanlockLockspace | undefined {
  const match = typeof text === 'string' ? /^([^:\s]{1,48}):(\d{1,4}):(\/.*):(\d+)$/.exec(text) : null;
  if (match === null) return undefined;
  const [, name = '', id, path = '', offset] = match;
  const hostId = Number(id);
  if (hostId < 1 || hostId > hostIdMax || /(?<!\\):/.test(path)) return undefined;
  return { name, hostId, path: path.replaceAll('\\:', ':'), offset: Number(offset) };
}
