/**
 * The configuration: /etc/holdfast/holdfast.toml, then the user's, whose keys win; or the one file that was named.
 * docs/configuration.md lists the keys. Nothing is guessed: a wrong key or value is an error that names its line and column.
 */
import { statSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { safeRealPath } from '../driver/safe-path.js';
import { parseDuration } from '../duration.js';
import { HoldfastError, isHoldfastError } from '../errors.js';
import { nearestWord } from '../nearest-word.js';
import type { LossAction } from '../vocabulary.js';
import { tomlPlace } from './toml-place.js';

export type QemuLock = 'check' | 'hold' | 'off';

/** A configuration is a screenful; whoever names a disk image by mistake must not wait for it to be read. */
const fileBytesMax = 1024 * 1024;

export const lossActions: readonly LossAction[] = ['poweroff', 'restart', 'pause', 'ignore'];
export const qemuLocks: readonly QemuLock[] = ['check', 'hold', 'off'];

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
  /** `[driver.NAME]`: settings handed to that driver as they are. */
  readonly driverSettings?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

type Reading = { -readonly [Key in keyof Configuration]: Configuration[Key] };

interface KeyEntry {
  /** What the value has to be, for the message. */
  readonly expects: string;
  /** Puts the value into the configuration; false: it is wrong. */
  readonly read: (into: Reading, value: unknown) => boolean;
}

const keys: Readonly<Record<string, KeyEntry>> = {
  drivers: {
    expects: 'a list of drivers\' names, such as ["fcntl"]',
    read: (into, value) => isStrings(value) && value.length > 0 && Boolean((into.drivers = value)),
  },
  wait: {
    expects: 'a duration such as "30s", or true (for ever) or false (not at all)',
    read: (into, value) => {
      const ms = typeof value === 'string' ? parseDuration(value) : waitOf(value);
      if (ms !== undefined) into.waitMs = ms;
      return ms !== undefined;
    },
  },
  allow_unlocked: {
    expects: 'true or false',
    read: (into, value) => {
      if (typeof value === 'boolean') into.allowUnlocked = value;
      return typeof value === 'boolean';
    },
  },
  on_lost: {
    expects: `one of ${lossActions.join(', ')}`,
    read: (into, value) => isOneOf(lossActions, value) && Boolean((into.onLost = value)),
  },
  qemu_lock: {
    expects: `one of ${qemuLocks.join(', ')}`,
    read: (into, value) => isOneOf(qemuLocks, value) && Boolean((into.qemuLock = value)),
  },
  local_file_systems: {
    expects: 'a list of file system types, such as ["zfs"]',
    read: (into, value) => isStrings(value) && Boolean((into.localFileSystems = value)),
  },
  alias: {
    expects: 'a table of strings',
    read: (into, value) => isTable(value) && Object.values(value).every(isString) && addAliases(into, value),
  },
  driver: {
    expects:
      'tables by the name of a driver, such as [driver.fcntl]; which drivers to use is said by `drivers`',
    read: (into, value) => isTable(value) && Object.values(value).every(isTable) && addSettings(into, value),
  },
};

export const configurationKeys: readonly string[] = Object.keys(keys);

/**
 * Reads the configuration: `file` alone if it is given (it has to exist), else the system's and the user's, where
 * they exist. Throws CONFIG with the place.
 */
export async function readConfiguration(
  options: { readonly file?: string; readonly usual?: readonly string[] } = {},
): Promise<Configuration> {
  const { file, usual = usualFiles() } = options;
  const paths = file === undefined ? usual : [file];
  const into: Reading = { files: [] };
  for (const path of paths) {
    const text = await readTrusted(path, file !== undefined);
    if (text === undefined) continue;
    into.files = [...into.files, path];
    await readInto(into, text, path);
  }
  return into;
}

/** The system's file, then the user's. */
export function usualFiles(env: NodeJS.ProcessEnv = process.env): string[] {
  const named = env['XDG_CONFIG_HOME'];
  // The XDG base directory specification: a relative path is to be ignored.
  const folder = named !== undefined && isAbsolute(named) ? named : join(homedir(), '.config');
  return ['/etc/holdfast/holdfast.toml', join(folder, 'holdfast/holdfast.toml')];
}

/** The text of a file that only root or this user can change; undefined if it is missing and may be. */
async function readTrusted(path: string, required: boolean): Promise<string | undefined> {
  try {
    // Mostly there is none: then nothing has to be walked, and node:fs/promises not to be loaded.
    if (!required && statSync(path, { throwIfNoEntry: false }) === undefined) return undefined;
    const real = await safeRealPath(path);
    const stats = await stat(real);
    if (!stats.isFile()) throw notConfiguration(`${path} is not a regular file`);
    if (stats.size > fileBytesMax) throw notConfiguration(`${path} is larger than 1 MiB`);
    return await readFile(real, 'utf8');
  } catch (cause) {
    if (isHoldfastError(cause, 'CONFIG')) throw cause;
    if (isHoldfastError(cause)) {
      const changeable = cause.resource === undefined || cause.resource === path ? 'it' : cause.resource;
      throw new HoldfastError('CONFIG', `${path} is refused: others could change ${changeable}`, {
        remedy: cause.remedy,
      });
    }
    throw new HoldfastError('CONFIG', `${path} cannot be read`, {
      cause,
      remedy: 'Check the path and its permissions.',
    });
  }
}

function notConfiguration(message: string): HoldfastError {
  return new HoldfastError('CONFIG', message, { remedy: 'Name a configuration file.' });
}

async function readInto(into: Reading, text: string, path: string): Promise<void> {
  // Only whoever has a configuration file pays for the parser.
  const { parse, TomlError } = await import('smol-toml');
  let table: Record<string, unknown>;
  try {
    table = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const what = error.message.split('\n', 1)[0]?.replace(/^Invalid TOML document: /, '') ?? '';
    throw wrong(path, error, `is not TOML: ${what}`);
  }
  for (const [key, value] of Object.entries(table)) {
    const entry = Object.hasOwn(keys, key) ? keys[key] : undefined;
    if (entry === undefined) {
      const near = nearestWord(key, configurationKeys);
      const hint =
        near === undefined ? `The keys are ${configurationKeys.join(', ')}.` : `Did you mean ${near}?`;
      throw wrong(path, tomlPlace(text, [key], 'key'), `unknown key ${key}`, hint);
    }
    if (!entry.read(into, value)) {
      throw wrong(path, tomlPlace(text, wrongPath(key, value), 'value'), `${key} has to be ${entry.expects}`);
    }
  }
}

/** In a table of strings or of tables, the path to the value that is wrong. */
function wrongPath(key: string, value: unknown): string[] {
  if (!isTable(value)) return [key];
  const good = key === 'alias' ? isString : isTable;
  const inner = Object.entries(value).find(([, one]) => !good(one));
  return inner === undefined ? [key] : [key, inner[0]];
}

function wrong(
  path: string,
  at: { line: number; column: number },
  what: string,
  remedy = `Mend line ${at.line} of the file.`,
): HoldfastError {
  const place = { file: path, line: at.line, column: at.column };
  return new HoldfastError('CONFIG', `${path}:${at.line}:${at.column}: ${what}`, {
    place,
    remedy,
  });
}

function waitOf(value: unknown): number | undefined {
  if (value === true) return Number.POSITIVE_INFINITY;
  return value === false ? 0 : undefined;
}

function addAliases(into: Reading, value: Record<string, unknown>): true {
  into.aliases = { ...into.aliases, ...(value as Record<string, string>) };
  return true;
}

function addSettings(into: Reading, value: Record<string, unknown>): true {
  const tables = Object.entries(value as Record<string, Record<string, unknown>>);
  // Key by key, as all else: who sets one thing for himself keeps what the system's file says of the others.
  const copies = tables.map(([name, table]) => [name, { ...into.driverSettings?.[name], ...table }] as const);
  into.driverSettings = { ...into.driverSettings, ...Object.fromEntries(copies) };
  return true;
}

function isString(value: unknown): value is string {
  return typeof value === 'string';
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(isString);
}

function isOneOf<Word extends string>(words: readonly Word[], value: unknown): value is Word {
  return isString(value) && (words as readonly string[]).includes(value);
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
