/** What libvirt's files say of locks: `lock_manager` in qemu.conf, and all of qemu-lockd.conf. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { causeText } from '../errors.js';
import { libvirtDirectories, libvirtNumber, libvirtSetting } from '../system/libvirt-config.js';

export interface LibvirtConfiguration {
  /** `/etc/libvirt`, or the user's own. */
  readonly directory: string;
  /** The system's, whose guests run under `qemu:///system`; else those of one user's session. */
  readonly system: boolean;
  /** The lock manager; `nop` where none is set. Undefined: the file cannot be read. */
  readonly lockManager: string | undefined;
  /** Why a file could not be read. */
  readonly unseen?: string;
  /** By the names that qemu-lockd.conf has: `file`, `lvm`, `scsi`. */
  readonly lockspaces: ReadonlyMap<string, string>;
  /** libvirt's default is true. */
  readonly autoDiskLeases: boolean;
  /** Guests without a lease for each disk are refused; libvirt's default is the opposite of `autoDiskLeases`. */
  readonly requireLeases: boolean;
  /** When the newest of the files was changed, milliseconds since 1970. */
  readonly changedMs: number;
}

/** Those that are there. */
export function readLibvirtConfigurations(etc: string): readonly LibvirtConfiguration[] {
  const directories = etc === '/etc' ? libvirtDirectories() : [join(etc, 'libvirt')];
  return directories.flatMap((directory, index) => readConfiguration(directory, index === 0) ?? []);
}

export function readConfiguration(directory: string, system: boolean): LibvirtConfiguration | undefined {
  const qemu = readText(join(directory, 'qemu.conf'));
  const lockd = readText(join(directory, 'qemu-lockd.conf'));
  // Whoever uses a libvirt of their own has guests there, and mostly no file of settings.
  const guests = !system && isThere(join(directory, 'qemu'));
  if (qemu.missing && lockd.missing && !guests) return undefined;
  const unseen = qemu.error ?? lockd.error;
  const settings = lockd.text ?? '';
  const autoDiskLeases = libvirtNumber(settings, 'auto_disk_leases') !== 0;
  const lockspaces = ['file', 'lvm', 'scsi'].flatMap((kind): [string, string][] => {
    const found = libvirtSetting(settings, `${kind}_lockspace_dir`);
    return found === undefined ? [] : [[kind, found]];
  });
  return {
    directory,
    system,
    lockManager: qemu.text === undefined ? undefined : (libvirtSetting(qemu.text, 'lock_manager') ?? 'nop'),
    ...(unseen === undefined ? {} : { unseen }),
    lockspaces: new Map(lockspaces),
    autoDiskLeases,
    requireLeases: (libvirtNumber(settings, 'require_lease_for_disks') ?? (autoDiskLeases ? 0 : 1)) !== 0,
    changedMs: Math.max(qemu.changedMs, lockd.changedMs),
  };
}

interface ReadText {
  /** Empty where the file is missing: libvirt's defaults hold. */
  readonly text?: string;
  readonly missing: boolean;
  readonly error?: string;
  readonly changedMs: number;
}

function readText(path: string): ReadText {
  try {
    return { text: readFileSync(path, 'utf8'), missing: false, changedMs: statSync(path).mtimeMs };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return { text: '', missing: true, changedMs: 0 };
    return { missing: false, error: causeText(error), changedMs: 0 };
  }
}

function isThere(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
