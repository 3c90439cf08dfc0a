/**
 * Which leases libvirt takes on this host: its qemu-sanlock.conf, and what `[driver.sanlock]` says instead. A Holdfast command
 * and a libvirt guest exclude each other only if both name the same leases. What cannot be read is left open, and said.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DriverSettings } from '../../driver/contract.js';
import { causeText, HoldfastError } from '../../errors.js';
import { libvirtDirectories, libvirtNumber, libvirtSetting } from '../../system/libvirt-config.js';

export interface LibvirtSanlockSettings {
  /** Each disk has a lease of its own, which is made when it is missing. Undefined: that cannot be seen. */
  readonly autoDiskLeases: boolean | undefined;
  /** Where those are. Undefined: that cannot be seen. */
  readonly diskLeaseDir: string | undefined;
  /** This host's number in the lockspace of those, 1 to 2000. Undefined: none is set, or it cannot be seen. */
  readonly hostId: number | undefined;
  /** libvirt refuses a guest that writes to a disk and has no lease. */
  readonly requireLeaseForDisks: boolean | undefined;
  /** sanlock's I/O timeout in that lockspace; 0: sanlock's own, 10 s. All hosts need the same. */
  readonly ioTimeoutSeconds: number | undefined;
  /** Whose the files of new leases are; names or numbers, as the file has them. */
  readonly user: string | undefined;
  readonly group: string | undefined;
  readonly notes: readonly string[];
}

/** As `[driver.sanlock]` has them; the first one is the file, all others are called as in it. */
export const libvirtSanlockNames = [
  'qemu_sanlock_conf',
  'auto_disk_leases',
  'disk_lease_dir',
  'host_id',
  'require_lease_for_disks',
  'io_timeout',
  'user',
  'group',
] as const;

type Name = (typeof libvirtSanlockNames)[number];

/** libvirt's own. */
const diskLeaseDirDefault = '/var/lib/libvirt/sanlock';
/** As many as a lockspace of 1 MiB with sectors of 512 bytes has; one of any other form has fewer. */
export const hostIdMax = 2000;

/**
 * `given`: `[driver.sanlock]`; names that are not of this list are somebody else's. `directories`: where libvirt's
 * configuration is looked for, the last one first.
 * Throws `CONFIG`, with the setting that is wrong.
 */
export function readLibvirtSanlockSettings(
  given: DriverSettings,
  directories: readonly string[] = libvirtDirectories(),
): LibvirtSanlockSettings {
  const own = readOwn(given);
  const file = own.path === undefined ? readFirst(directories) : readConf(own.path);
  const text = file.text;
  const number = (name: Name): number | undefined =>
    text === undefined ? undefined : libvirtNumber(text, name);
  const word = (name: Name): string | undefined =>
    text === undefined ? undefined : libvirtSetting(text, name);
  const autoDiskLeases =
    own.autoDiskLeases ?? (text === undefined ? undefined : number('auto_disk_leases') === 1);
  const hostId = own.hostId ?? number('host_id');
  const required = number('require_lease_for_disks');
  const complete = [own.autoDiskLeases, own.diskLeaseDir, own.hostId, own.ioTimeoutSeconds].every(
    (value) => value !== undefined,
  );
  return {
    autoDiskLeases,
    diskLeaseDir:
      own.diskLeaseDir ?? (text === undefined ? undefined : (word('disk_lease_dir') ?? diskLeaseDirDefault)),
    hostId: hostId === undefined || hostId < 1 ? undefined : hostId,
    requireLeaseForDisks:
      own.requireLeaseForDisks ??
      // Unless it is set it is the opposite of the automatic leases.
      (required !== undefined
        ? required === 1
        : text === undefined || autoDiskLeases === undefined
          ? undefined
          : !autoDiskLeases),
    ioTimeoutSeconds: own.ioTimeoutSeconds ?? (text === undefined ? undefined : (number('io_timeout') ?? 0)),
    user: own.user ?? word('user'),
    group: own.group ?? word('group'),
    notes: file.problem === undefined || complete ? [] : [file.problem],
  };
}

/** What `[driver.sanlock]` says, and where it says that libvirt's file is. */
type OwnSettings = Omit<LibvirtSanlockSettings, 'notes'> & { readonly path: string | undefined };

function readOwn(given: DriverSettings): OwnSettings {
  const read = <Value>(
    name: Name,
    isProper: (value: unknown) => value is Value,
    what: string,
  ): Value | undefined => {
    const value = given[name];
    if (value === undefined || isProper(value)) return value;
    throw new HoldfastError(
      'CONFIG',
      `driver sanlock: ${name} must be ${what}, but is ${JSON.stringify(value)}`,
      { setting: name },
    );
  };
  const path = (value: unknown): value is string => typeof value === 'string' && value.startsWith('/');
  const flag = (value: unknown): value is boolean => typeof value === 'boolean';
  const name = (value: unknown): value is string => typeof value === 'string' && value !== '';
  const whole = (min: number, max: number) => {
    return (value: unknown): value is number =>
      typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max;
  };
  return {
    path: read('qemu_sanlock_conf', path, 'an absolute path'),
    autoDiskLeases: read('auto_disk_leases', flag, 'true or false'),
    diskLeaseDir: read('disk_lease_dir', path, 'an absolute path'),
    hostId: read('host_id', whole(1, hostIdMax), `a number from 1 to ${hostIdMax}`),
    requireLeaseForDisks: read('require_lease_for_disks', flag, 'true or false'),
    ioTimeoutSeconds: read('io_timeout', whole(0, 3600), 'a number of seconds (0: the default of sanlock)'),
    user: read('user', name, 'a name'),
    group: read('group', name, 'a name'),
  };
}

interface Conf {
  /** Empty where there is no such file: libvirt's defaults hold. */
  readonly text?: string;
  readonly missing?: boolean;
  readonly problem?: string;
}

/** A user's libvirt has its own file, if it has any. */
function readFirst(directories: readonly string[]): Conf {
  const found = directories.toReversed().map((directory) => readConf(join(directory, 'qemu-sanlock.conf')));
  return found.find(({ missing }) => missing !== true) ?? { text: '' };
}

function readConf(path: string): Conf {
  try {
    return { text: readFileSync(path, 'utf8') };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return { text: '', missing: true };
    const problem = `libvirt's settings for sanlock could not be read (${causeText(error)}): by which leases it locks disks is unknown`;
    return { problem };
  }
}
