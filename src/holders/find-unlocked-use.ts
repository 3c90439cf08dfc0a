/**
 * The check before locking: does anyone use a resource who would never meet our lock? Mounted, swap, claimed by the
 * kernel, or open for writing by a program that has no lock where lock drivers look.
 */
import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { isOpenForWriting } from '../system/file-lease.js';
import { inodeOf, sameInode } from '../system/inode.js';
import { readKernelTables } from '../system/kernel-uses.js';
import type { KernelTables } from '../system/kernel-uses.js';
import { readLocksOf } from '../system/lock-lines.js';
import { findOpenFiles } from '../system/open-files.js';
import type { Holder, Resource } from '../vocabulary.js';
import { hasAnyLock, locksAreSeen } from './fuse-locks.js';
import { kernelHolders } from './kernel-holder.js';
import { coveredBy } from './lock-cover.js';
import { isWatched } from './lock-meaning.js';
import { isWriting, processHolder, processUses } from './process-holder.js';
import type { ProcessUse, ResourceFile } from './process-holder.js';
import { inodeOfResource, resourceTargets } from './resource-targets.js';
import { unaccountedLocks } from './unaccounted-locks.js';

export interface FindOptions {
  /** Processes to leave out of the answer: usually the caller's own. */
  readonly ignorePids?: readonly number[];
  /** Also who is only shown, and refuses nothing: readers without a lock. */
  readonly everyone?: boolean;
}

/**
 * Uses of resources by someone without a lock, by identity; identities that nobody uses so are not in the map.
 *
 * Ask for what is to be locked `exclusive` or `shared`, *before* opening it for writing. Not for `part`: the disk of a
 * partition may well have another one mounted, and the file behind a loop device always has that as its writer.
 *
 * An idle regular file on a local file system costs some 10 us: the kernel is asked whether anyone writes it
 * (file-lease.ts), and only if it says yes, or cannot tell, is /proc read, once for all such resources. Block
 * devices have no such short cut. Does not throw.
 */
export async function findUnlockedUse(
  resources: readonly Resource[],
  options: FindOptions = {},
): Promise<Map<string, Holder[]>> {
  const doubtful = resources
    .filter(({ storage }) => storage === 'file' || storage === 'block')
    .map((resource): Doubt => ({ resource, written: isWritten(resource) }))
    .filter(({ written }) => written !== false);
  if (doubtful.length === 0) return new Map();

  const tables = readKernelTables();
  const targets = doubtful.flatMap(({ resource }) => resourceTargets(resource, tables));
  const { files } = await findOpenFiles(targets);
  const found = new Map<string, Holder[]>();
  for (const doubt of doubtful) {
    const own = files.filter(({ target }) => target.resource === doubt.resource);
    const holders = await unlockedUses(doubt, own, tables, new Set(options.ignorePids));
    if (holders.length > 0) found.set(doubt.resource.identity, holders);
  }
  return found;
}

/** `written`: someone has it open for writing; undefined: not known. */
interface Doubt {
  readonly resource: Resource;
  readonly written: boolean | undefined;
}

/**
 * Whether anyone at all writes a regular file. Undefined for all else, where the path leads elsewhere by now, and on
 * network file systems and unknown ones: there a lease tells only of writers through the same mount (seen with
 * GlusterFS).
 */
function isWritten({ storage, scope, unknownFileSystem, path, inode }: Resource): boolean | undefined {
  if (storage !== 'file' || scope !== 'host' || unknownFileSystem !== undefined) return undefined;
  if (path === undefined || inode === undefined) return undefined;
  let fd: number | undefined;
  try {
    // Before opening: what took its place might be a device. After: it might have been changed in between.
    if (!sameInode(inodeOf(statSync(path, { bigint: true })), inode)) return undefined;
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return sameInode(inodeOf(fstatSync(fd, { bigint: true })), inode) ? isOpenForWriting(fd) : undefined;
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

async function unlockedUses(
  { resource, written }: Doubt,
  files: readonly ResourceFile[],
  tables: KernelTables,
  ignored: ReadonlySet<number>,
): Promise<Holder[]> {
  const uses = processUses(files);
  const writers = uses.filter(
    (use) => use.writes && !ignored.has(use.pid) && isUnlocked(use, uses, resource, tables),
  );
  const holders = [
    ...writers.map((use) => processHolder(use, 'no lock: open for writing')),
    ...(await kernelHolders(resource, tables)),
  ];
  if (holders.length > 0 || written !== true || uses.some((use) => use.writes)) return holders;
  return isExplained(resource, files) ? [] : [unseenWriter()];
}

/** A writer above, of a partition for instance, is never met by a lock on what is below: its own lock counts for nothing. */
function isUnlocked(
  use: ProcessUse,
  all: readonly ProcessUse[],
  resource: Resource,
  tables: KernelTables,
): boolean {
  if (use.files.some((file) => file.target.relation === 'above' && isWriting(file))) return true;
  if (use.locked || coveredBy(use, all) !== undefined) return false;
  return locksAreSeen(resource, tables) || !hasAnyLock(resource);
}

/**
 * Whether a writer that no process shows can be left to the lock drivers: it is gone by now, or there is a lock
 * that belongs to none of the processes that could be seen.
 */
function isExplained(resource: Resource, files: readonly ResourceFile[]): boolean {
  if (isWritten(resource) !== true) return true;
  const inode = inodeOfResource(resource);
  if (inode === undefined) return true;
  const seen = files.flatMap(({ locks }) => locks);
  return unaccountedLocks(inode, readLocksOf(inode), seen)?.some(isWatched) ?? false;
}

function unseenWriter(): Holder {
  return {
    host: 'this host',
    through: ['no lock: open for writing by a program that cannot be seen from here'],
    evidence: ['fcntl(F_SETLEASE, F_RDLCK): EAGAIN'],
    remedy: 'look again as root, outside of any container',
  };
}
