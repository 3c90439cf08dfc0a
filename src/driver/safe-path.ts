/**
 * The real path of a file that only root and the current user can change, or a refusal.
 *
 * A driver runs with all the rights of its caller, so whoever can change its file, or any folder or symlink
 * on the way to it, could run what he likes. What was checked is what is loaded: the path that comes back has
 * no symlink left, and nobody else can put another file there in between.
 */
import { lstat, readdir, readlink } from 'node:fs/promises';
import type { Stats } from 'node:fs';
import { join, resolve, sep } from 'node:path';
import { HoldfastError } from '../errors.js';

/** As the kernel: path_resolution(7), MAXSYMLINKS. */
const symlinksMax = 40;
/** A driver's folder is read whole; one with more files than this is no driver. */
const filesMax = 10_000;
const writableByOthers = 0o022;
const sticky = 0o1000;

/**
 * Walks the path name by name, as the kernel does, and checks each folder, symlink and the file itself.
 * @throws HoldfastError DRIVER_UNSAFE; a system error (ENOENT, ...) if there is nothing there
 */
export async function safeRealPath(path: string): Promise<string> {
  let left = names(resolve(path));
  let real: string = sep;
  let symlinks = 0;
  requireSafe(real, await lstat(real));
  while (left.length > 0) {
    const [name = '', ...rest] = left;
    const next = join(real, name);
    const stats = await lstat(next).catch(async (error: unknown) => {
      // What is missing in a folder that others can add names to, they could put there.
      requireUnwritable(real, await lstat(real));
      throw error;
    });
    if (!stats.isSymbolicLink()) {
      requireSafe(next, stats);
      real = next;
      left = rest;
      continue;
    }
    if (++symlinks > symlinksMax) throw unsafe(path, 'too many symlinks lead to it');
    requireOwner(next, stats);
    const target = resolve(real, await readlink(next));
    real = sep;
    left = [...names(target), ...rest];
  }
  return real;
}

/**
 * Checks everything below a folder that `safeRealPath` found safe: a driver of several files is as safe as
 * its least safe file. Where a symlink leads to a folder, everything below that is checked as well. Unlike a
 * folder above the driver, none here may have others add names, not even with the sticky bit: what a driver
 * looks for first and has not got, they could put there.
 * @throws HoldfastError DRIVER_UNSAFE
 */
export async function requireSafeTree(folder: string): Promise<void> {
  let files = 0;
  /** Real paths: symlinks that lead round in a circle are followed once. */
  const seen = new Set<string>();
  const folders = [folder];
  for (let current = folders.pop(); current !== undefined; current = folders.pop()) {
    if (seen.has(current)) continue;
    seen.add(current);
    requireUnwritable(current, await lstat(current));
    for (const entry of await readdir(current, { withFileTypes: true })) {
      if (++files > filesMax) throw unsafe(folder, `it has more than ${filesMax} files`);
      const real = entry.isSymbolicLink()
        ? await targetOf(join(current, entry.name))
        : join(current, entry.name);
      if (real === undefined) continue;
      const stats = await lstat(real);
      requireSafe(real, stats);
      if (stats.isDirectory()) folders.push(real);
    }
  }
}

/** Where a symlink leads; undefined: to nothing, and nobody else can put something there. */
async function targetOf(link: string): Promise<string | undefined> {
  try {
    return await safeRealPath(link);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function requireSafe(path: string, stats: Stats): void {
  // In a folder with the sticky bit (/tmp) others can add names, but neither rename nor remove what is ours.
  if (stats.isDirectory() && (stats.mode & sticky) !== 0) requireOwner(path, stats);
  else requireUnwritable(path, stats);
}

function requireUnwritable(path: string, stats: Stats): void {
  requireOwner(path, stats);
  if ((stats.mode & writableByOthers) !== 0) {
    throw unsafe(path, 'others can write to it', `Run: chmod go-w ${path}`);
  }
}

function requireOwner(path: string, stats: Stats): void {
  const self = process.geteuid?.();
  if (stats.uid === 0 || stats.uid === self) return;
  throw unsafe(path, `it belongs to user ${stats.uid}, who is neither root nor the user who loads it`);
}

function names(path: string): string[] {
  return path.split(sep).filter((name) => name !== '');
}

function unsafe(path: string, why: string, remedy?: string): HoldfastError {
  return new HoldfastError('DRIVER_UNSAFE', `${path}: ${why}, so no driver is loaded from there`, {
    resource: path,
    ...(remedy === undefined ? {} : { remedy }),
  });
}
