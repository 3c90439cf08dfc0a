/**
 * The configuration: /etc/holdfast/holdfast.toml, then the user's, whose keys win; or the one file that was named.
 * docs/configuration.md lists the keys. Mostly there is no file at all, and then nothing is loaded that reads one.
 */
import { closeSync, constants, openSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { userConfiguration } from '../system/user-configuration.js';
import type { LossAction } from '../vocabulary.js';
import type { DaemonSettings } from './daemon-settings.js';

export type QemuLock = 'check' | 'hold' | 'off';

export interface Configuration {
  /** The files that were read, in order. */
  readonly files: readonly string[];
  /** What was passed over, and why; there if something was. */
  readonly notes?: readonly string[];
  /** `drivers`: which drivers to use, in order. */
  readonly drivers?: readonly string[];
  /** `wait`: how long to wait for a disk in use, in milliseconds; 0 not at all, Infinity for ever. */
  readonly waitMs?: number;
  /** `allow_unlocked`: go on without a lock where none can be had. */
  readonly allowUnlocked?: boolean;
  /** `on_lost`: what to do with a guest whose lock is lost. */
  readonly onLost?: LossAction;
  /** `qemu_lock`: test QEMU's own lock bytes, hold them too, or leave them alone. */
  readonly qemuLock?: QemuLock;
  /** `local_file_systems`: types that count as local to this host besides the known ones. */
  readonly localFileSystems?: readonly string[];
  /** `[alias]`: a source or a host and the one name that stands for it, for storage known by two names. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** `[daemon]`: settings of `holdfastd`. */
  readonly daemon?: DaemonSettings;
  /** `[driver.NAME]`: settings handed to that driver as they are. */
  readonly driverSettings?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/**
 * Reads the configuration: `file` alone if it is given (it has to exist), else the system's and the user's, where
 * they exist. Throws CONFIG with the place. The user's is passed over where HOME is another user's and does not let
 * this one in: that is not his configuration, and `notes` says so.
 */
export async function readConfiguration(
  options: { readonly file?: string; readonly usual?: readonly string[] } = {},
): Promise<Configuration> {
  const { file, usual = usualFiles() } = options;
  const paths = file === undefined ? usual : [file];
  let configuration: Configuration = { files: [] };
  for (const path of paths) {
    if (file === undefined) {
      const error = lookAt(path);
      if (error?.code === 'ENOENT') continue;
      // The first, the system's file, is for all users: who may not read it must not go on without it.
      const another = error?.code === 'EACCES' && path !== paths[0] ? otherHome(path) : undefined;
      if (another !== undefined) {
        configuration = { ...configuration, notes: [passedOver(path, another)] };
        continue;
      }
    }
    const { readConfigurationFile } = await import('./configuration-file.js');
    configuration = await readConfigurationFile(path, configuration);
  }
  return configuration;
}

/** Why a file cannot be read. What is neither missing nor barred is left to the reader, who says what is wrong. */
function lookAt(path: string): { readonly code: 'ENOENT' | 'EACCES' } | undefined {
  try {
    if (statSync(path, { throwIfNoEntry: false }) === undefined) return { code: 'ENOENT' };
    closeSync(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK));
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES' ? { code: 'EACCES' } : undefined;
  }
}

/** The user, by number, in whose home a user's file is, if that is not this process's user's. */
function otherHome(path: string): number | undefined {
  const folder = dirname(dirname(path));
  const owners = [ownerOf(folder), ownerOf(dirname(folder))];
  return owners.includes(process.geteuid?.()) ? undefined : owners[1];
}

/** Of the folder, or of the nearest one above it that shows. */
function ownerOf(folder: string): number | undefined {
  for (let at = folder; ; at = dirname(at)) {
    try {
      return statSync(at).uid;
    } catch {
      if (at === dirname(at)) return undefined;
    }
  }
}

function passedOver(path: string, user: number): string {
  return `${path} is passed over: it may not be read, for that home is user ${user}'s (setpriv, and sudo as it can be set up, keep HOME)`;
}

/** The system's file, then the user's. */
export function usualFiles(env: NodeJS.ProcessEnv = process.env): string[] {
  return ['/etc/holdfast/holdfast.toml', join(userConfiguration(env), 'holdfast/holdfast.toml')];
}
