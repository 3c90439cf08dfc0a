/**
 * Reads one configuration file. Nothing is guessed: a wrong key or value is an error that names its line and column.
 */
import { readFile, stat } from 'node:fs/promises';
import { safeRealPath } from '../driver/safe-path.js';
import { parseDuration } from '../duration.js';
import { HoldfastError, isHoldfastError } from '../errors.js';
import { nearestWord } from '../nearest-word.js';
import type { LossAction } from '../vocabulary.js';
import type { Configuration, QemuLock } from './configuration.js';
import { daemonKeyNames, readDaemonSettings, type DaemonSettings } from './daemon-settings.js';
import { tomlPlace } from './toml-place.js';

/** A configuration is a screenful; whoever names a disk image by mistake must not wait for it to be read. */
const fileBytesMax = 1024 * 1024;

const lossActions: readonly LossAction[] = ['poweroff', 'restart', 'pause', 'ignore'];
const qemuLocks: readonly QemuLock[] = ['check', 'hold', 'off'];

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
  daemon: {
    expects: 'a table, [daemon]',
    read: (_into, value) => isTable(value),
  },
  driver: {
    expects:
      'tables by the name of a driver, such as [driver.fcntl]; which drivers to use is said by `drivers`',
    read: (into, value) => isTable(value) && Object.values(value).every(isTable) && addSettings(into, value),
  },
};

export const configurationKeys: readonly string[] = Object.keys(keys);

/** The text of a file that only root or this user can change. */
async function readTrusted(path: string): Promise<string> {
  try {
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

/**
 * What a file says, over what is known already: its keys win. Throws CONFIG with the place.
 */
export async function readConfigurationFile(path: string, known: Configuration): Promise<Configuration> {
  const text = await readTrusted(path);
  const into: Reading = { ...known, files: [...known.files, path] };
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
  if (isTable(table['daemon'])) into.daemon = daemonSettings(text, path, table['daemon'], into.daemon);
  return into;
}

function daemonSettings(
  text: string,
  path: string,
  table: Record<string, unknown>,
  known: DaemonSettings | undefined,
): DaemonSettings {
  const settings = readDaemonSettings(table, known);
  if (!('wrong' in settings)) return settings;
  const { key, expects } = settings.wrong;
  if (expects !== undefined) {
    throw wrong(path, tomlPlace(text, ['daemon', key], 'value'), `daemon.${key} has to be ${expects}`);
  }
  const near = nearestWord(key, daemonKeyNames);
  const hint =
    near === undefined ? `The keys of [daemon] are ${daemonKeyNames.join(', ')}.` : `Did you mean ${near}?`;
  throw wrong(path, tomlPlace(text, ['daemon', key], 'key'), `unknown key daemon.${key}`, hint);
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
