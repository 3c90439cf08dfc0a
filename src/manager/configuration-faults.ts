/**
 * What is wrong with the configuration, but only shows when drivers are looked for and started: which of them there
 * are is not known while the file is read, and what their settings mean they know alone.
 */
import { readFile } from 'node:fs/promises';
import { builtInDrivers } from '../driver/discovery.js';
import { driverNamePattern } from '../driver/driver-shape.js';
import { candidates, type PlaceOptions } from '../driver/places.js';
import { HoldfastError, isHoldfastError } from '../errors.js';
import { nearestWord } from '../nearest-word.js';
import type { Place } from '../vocabulary.js';
import type { Configuration } from './configuration.js';
import { tomlPlace } from './toml-place.js';

/**
 * Where a key of the configuration stands, in the file whose value counts; undefined if none has it. `word`: one
 * string in its value. The files are read again: only who has an error to explain pays for it.
 */
export async function configurationPlace(
  files: readonly string[],
  path: readonly string[],
  word?: string,
): Promise<Place | undefined> {
  const { parse } = await import('smol-toml');
  for (const file of files.toReversed()) {
    const text = await readFile(file, 'utf8');
    if (!Object.hasOwn(tableAt(parse(text), path.slice(0, -1)), path.at(-1) ?? '')) continue;
    const key = tomlPlace(text, path, word === undefined ? 'key' : 'value');
    return { file, ...(word === undefined ? key : placeOfWord(text, key, word)) };
  }
  return undefined;
}

function tableAt(table: unknown, path: readonly string[]): object {
  let inner: unknown = table;
  for (const key of path) inner = Object(inner)[key] as unknown;
  return Object(inner) as object;
}

/** The first string that is this word, from a place on: the value that starts there is known to have it. */
function placeOfWord(text: string, from: Omit<Place, 'file'>, word: string): Omit<Place, 'file'> {
  const lines = text.split('\n').slice(from.line - 1);
  for (const [index, line] of lines.entries()) {
    const start = index === 0 ? from.column - 1 : 0;
    const found = [`"${word}"`, `'${word}'`].map((one) => line.indexOf(one, start)).find((at) => at !== -1);
    if (found !== undefined) return { line: from.line + index, column: found + 1 };
  }
  return from;
}

function placed(place: Place, what: string, remedy: string, cause?: unknown): HoldfastError {
  const message = `${place.file}:${place.line}:${place.column}: ${what}`;
  return new HoldfastError('CONFIG', message, { place, remedy, cause });
}

export interface Chosen {
  readonly configuration: Configuration;
  /** Whether it was the configuration that chose the drivers, and not the caller. */
  readonly byConfiguration: boolean;
  /** Settings that the caller gave, by driver: no file is to blame for these. */
  readonly ownSettings: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly places: PlaceOptions;
}

/** Throws `CONFIG` if the configuration's list names a driver twice. */
export async function chosenTwice(name: string, { files }: Configuration): Promise<HoldfastError> {
  const what = `the driver ${name} is chosen twice; it would stand in its own way`;
  const place = await configurationPlace(files, ['drivers'], name);
  return place === undefined ? new HoldfastError('CONFIG', what) : placed(place, what, 'Name it once.');
}

/** The error that a driver's search or start threw, with its place where the configuration is to blame. */
export async function explainDriverFault(error: unknown, name: string, chosen: Chosen): Promise<unknown> {
  const { configuration, byConfiguration, ownSettings } = chosen;
  if (isHoldfastError(error, 'DRIVER_UNKNOWN') && byConfiguration) {
    const place = await configurationPlace(configuration.files, ['drivers'], name);
    if (place === undefined) return error;
    const near = nearestWord(name, await installedDrivers(chosen.places));
    const hint = near === undefined ? '' : `Did you mean ${near}? `;
    return placed(place, error.message, `${hint}${error.remedy}`, error);
  }
  if (!isHoldfastError(error, 'CONFIG') || error.place !== undefined) return error;
  const { setting } = error;
  const own = ownSettings[name] ?? {};
  if (setting === undefined ? Object.keys(own).length > 0 : Object.hasOwn(own, setting)) return error;
  const path = ['driver', name, ...(setting === undefined ? [] : [setting])];
  const place = await configurationPlace(configuration.files, path);
  return place === undefined ? error : placed(place, error.message, error.remedy, error);
}

/**
 * Tables `[driver.NAME]` of no driver that is chosen, built in or installed. One that cannot be a driver's, or is nearly
 * called like one, is an error: its settings would silently not count. Any other is probably for other hosts that
 * share the file: a note for each.
 * @throws HoldfastError CONFIG; NOT_PERMITTED if the folders for drivers cannot be read
 */
export async function unusedTables(
  { files, driverSettings = {} }: Configuration,
  chosen: readonly string[],
  places: PlaceOptions,
): Promise<readonly string[]> {
  const known = [...chosen, ...(await installedDrivers(places))];
  const notes: string[] = [];
  for (const name of Object.keys(driverSettings)) {
    if (known.includes(name)) continue;
    const place = await configurationPlace(files, ['driver', name]);
    if (place === undefined) continue;
    const near = nearestWord(name, known);
    const missing = driverNamePattern.test(name)
      ? `there is no driver ${name} on this host`
      : `${JSON.stringify(name)} cannot be the name of a driver`;
    const what = `[driver.${name}] is not used: ${missing}`;
    if (near !== undefined || !driverNamePattern.test(name)) {
      const remedy = near === undefined ? 'Remove it.' : `Did you mean [driver.${near}]? If not, remove it.`;
      throw placed(place, what, remedy);
    }
    notes.push(`${place.file}:${place.line}:${place.column}: ${what}`);
  }
  return notes;
}

async function installedDrivers(places: PlaceOptions): Promise<readonly string[]> {
  return [...builtInDrivers, ...(await candidates(places)).map(({ name }) => name)];
}
