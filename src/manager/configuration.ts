/**
 * The configuration: /etc/holdfast/holdfast.toml, then the user's, whose keys win; or the one file that was named.
 * docs/configuration.md lists the keys. Mostly there is no file at all, and then nothing is loaded that reads one.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { userConfiguration } from '../system/user-configuration.js';
import type { LossAction } from '../vocabulary.js';
import type { DaemonSettings } from './daemon-settings.js';

export type QemuLock = 'check' | 'hold' | 'off';

export interface Configuration {
  /** The files that were read, in order. */
  readonly files: readonly string[];
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
 * they exist. Throws CONFIG with the place.
 */
export async function readConfiguration(
  options: { readonly file?: string; readonly usual?: readonly string[] } = {},
): Promise<Configuration> {
  const { file, usual = usualFiles() } = options;
  const paths = file === undefined ? usual : [file];
  let configuration: Configuration = { files: [] };
  for (const path of paths) {
    if (file === undefined && isMissing(path)) continue;
    const { readConfigurationFile } = await import('./configuration-file.js');
    configuration = await readConfigurationFile(path, configuration);
  }
  return configuration;
}

/** What cannot be looked at is not missing: reading it says why. */
function isMissing(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) === undefined;
  } catch {
    return false;
  }
}

/** The system's file, then the user's. */
export function usualFiles(env: NodeJS.ProcessEnv = process.env): string[] {
  return ['/etc/holdfast/holdfast.toml', join(userConfiguration(env), 'holdfast/holdfast.toml')];
}
