/** Where drivers are looked for, in order, and the files found there. Nothing is loaded here. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, delimiter, dirname, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HoldfastError } from '../errors.js';
import { driverNamePattern } from './driver-shape.js';

/** Something in a place that is called like a driver. */
export interface Candidate {
  readonly name: string;
  readonly from: 'npm' | 'folder';
  /** The module that would be loaded; symlinks not resolved. */
  readonly file: string;
  /** The folder that is the driver's own (`NAME/`, or its npm package). */
  readonly folder?: string;
}

export interface PlaceOptions {
  /** Folders, separated by colons, instead of `$HOLDFAST_DRIVER_PATH`. */
  readonly path?: string;
  /** The folder of Holdfast's own installation from which npm packages are resolved; found out if not given. */
  readonly installation?: string;
}

const npmPrefix = 'holdfast-driver-';
const systemFolders = ['/usr/lib/holdfast/drivers', '/etc/holdfast/drivers'];

/** Every candidate of a name, or of all names, in the order in which they win. */
export async function candidates(options: PlaceOptions, name?: string): Promise<Candidate[]> {
  const wanted = (candidate: Candidate): boolean => name === undefined || candidate.name === name;
  const found: Candidate[] = [];
  for (const folder of moduleFolders(options)) found.push(...(await packagesIn(folder, name)));
  for (const folder of driverFolders(options)) found.push(...(await driversIn(folder)));
  return found.filter(wanted);
}

/**
 * The folders that hold drivers as files, in order.
 * @throws HoldfastError CONFIG for a relative folder: what it means would depend on where the command is run.
 */
export function driverFolders(options: PlaceOptions = {}): string[] {
  const path = options.path ?? process.env['HOLDFAST_DRIVER_PATH'] ?? '';
  const own = path.split(delimiter).filter((folder) => folder !== '');
  const relative = own.find((folder) => !isAbsolute(folder));
  if (relative !== undefined) {
    throw new HoldfastError('CONFIG', `HOLDFAST_DRIVER_PATH names a relative folder: ${relative}`, {
      remedy: 'Write absolute folders, separated by colons.',
    });
  }
  return [...systemFolders, ...own];
}

/**
 * The `node_modules` folders that Holdfast's own installation resolves from: those of its folder's ancestors.
 * Not `NODE_PATH`, not `$HOME/.node_modules`, not the current folder.
 */
function moduleFolders({ installation }: PlaceOptions): string[] {
  const here = installation ?? dirname(fileURLToPath(import.meta.url));
  const folders = createRequire(join(here, 'x.js')).resolve.paths(`${npmPrefix}x`) ?? [];
  return folders.filter(
    (folder) => basename(folder) === 'node_modules' && `${here}/`.startsWith(`${dirname(folder)}/`),
  );
}

async function packagesIn(folder: string, name?: string): Promise<Candidate[]> {
  const packages =
    name === undefined
      ? (await namesIn(folder)).filter((entry) => entry.startsWith(npmPrefix))
      : [`${npmPrefix}${name}`];
  const found: Candidate[] = [];
  for (const entry of packages) {
    const driver = entry.slice(npmPrefix.length);
    const own = join(folder, entry);
    if (!driverNamePattern.test(driver) || !(await isThere(own))) continue;
    found.push({ name: driver, from: 'npm', file: join(own, await entryPoint(own)), folder: own });
  }
  return found;
}

/** The module of a package, as `import` finds it (nodejs.org/api/packages.html); only what a driver needs of that. */
async function entryPoint(folder: string): Promise<string> {
  const text = await readFile(join(folder, 'package.json'), 'utf8').catch(() => '{}');
  let manifest: { exports?: unknown; main?: unknown };
  try {
    manifest = JSON.parse(text) as typeof manifest;
  } catch {
    manifest = {};
  }
  const target = exportTarget(manifest.exports) ?? manifest.main;
  return typeof target === 'string' ? target : 'index.js';
}

function exportTarget(exports: unknown): string | undefined {
  if (typeof exports === 'string') return exports;
  if (typeof exports !== 'object' || exports === null) return undefined;
  for (const [key, value] of Object.entries(exports)) {
    if (!['.', 'node', 'import', 'module-sync', 'default'].includes(key)) continue;
    const target = exportTarget(value);
    if (target !== undefined) return target;
  }
  return undefined;
}

/** `NAME.js`, `NAME.mjs` and `NAME/index.js`; where a folder has several of one name, in this order. */
async function driversIn(folder: string): Promise<Candidate[]> {
  const found: Candidate[] = [];
  for (const entry of await namesIn(folder)) {
    const name = entry.replace(/\.m?js$/, '');
    if (!driverNamePattern.test(name)) continue;
    if (name !== entry) {
      found.push({ name, from: 'folder', file: join(folder, entry) });
    } else if (await isThere(join(folder, entry, 'index.js'))) {
      found.push({
        name,
        from: 'folder',
        file: join(folder, entry, 'index.js'),
        folder: join(folder, entry),
      });
    }
  }
  const rank = ({ file, folder: own }: Candidate): number =>
    own !== undefined ? 2 : file.endsWith('.mjs') ? 1 : 0;
  return found.toSorted((a, b) => a.name.localeCompare(b.name) || rank(a) - rank(b));
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).toSorted();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return [];
    throw new HoldfastError('NOT_PERMITTED', `${folder}: cannot be looked through for drivers`, {
      cause: error,
    });
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
