/** Who writes a regular file, or only reads it, where the kernel says so and no descriptor tells by whom. */
import { setTimeout as pause } from 'node:timers/promises';
import type { KernelTables } from '../system/kernel-uses.js';
import { readLocksOf } from '../system/lock-lines.js';
import { findMappings } from '../system/memory-maps.js';
import { findOpenFiles } from '../system/open-files.js';
import type { Holder, Resource } from '../vocabulary.js';
import { isUsed, isWritten } from './is-written.js';
import { isWatched } from './lock-meaning.js';
import { isWriting } from './process-use.js';
import type { ResourceFile, ResourceMap } from './process-use.js';
import { refusedWithoutLock } from './refused-modes.js';
import { inodeOfResource } from './resource-targets.js';
import type { ResourceTarget } from './resource-targets.js';
import { unaccountedLocks } from './unaccounted-locks.js';

export interface HiddenWriters {
  /** The descriptors as they are now: whoever opened it since the first look is among them. */
  readonly files: readonly ResourceFile[];
  readonly maps: readonly ResourceMap[];
  /** A writer that cannot be seen from here. */
  readonly unseen: readonly Holder[];
}

/**
 * Who writes a file that the kernel says is written though no descriptor shows it: those who have it mapped, or someone
 * who cannot be seen. Reads the maps of all processes, which is why it is asked only then.
 */
export async function findHiddenWriters(
  resource: Resource,
  targets: readonly ResourceTarget[],
  files: readonly ResourceFile[],
  tables: KernelTables,
): Promise<HiddenWriters> {
  const { mappings } = await findMappings(targets.filter(({ relation }) => relation === 'self'));
  const maps = mappings.filter(({ writes }) => writes);
  if (maps.length > 0 || isExplained(resource, files, tables)) return { files, maps, unseen: [] };
  // It may have been opened between the look and the kernel's word.
  const { files: again } = await findOpenFiles(targets, { threads: true });
  const unseen = again.some(isWriting) || isExplained(resource, again, tables) ? [] : [unseenWriter];
  return { files: again, maps, unseen };
}

/**
 * Who has a file open though no process shows it: a descriptor on its way through a socket, of another layer of
 * overlayfs, of another user. For everyone, once neither a descriptor nor a map was found.
 */
export async function findHiddenReaders(
  resource: Resource,
  targets: readonly ResourceTarget[],
): Promise<HiddenWriters> {
  for (let look = 0; look < looksMax && (await isUsedForLong(resource)); look++) {
    const [{ files }, { mappings: maps }] = await Promise.all([
      findOpenFiles(targets, { threads: true }),
      findMappings(targets),
    ]);
    if (maps.length > 0 || files.some(({ access }) => access !== 'path')) return { files, maps, unseen: [] };
  }
  return { files: [], maps: [], unseen: (await isUsedForLong(resource)) ? [unseenReader] : [] };
}

const looksMax = 2;

/** Whoever looks at the file in the same moment has it open too, but not for long (passing-readers.ts). */
async function isUsedForLong(resource: Resource): Promise<boolean> {
  for (const pauseMs of looksPausesMs) {
    if (isUsed(resource) !== true) return false;
    await pause(pauseMs);
  }
  return isUsed(resource) === true;
}

const looksPausesMs = [2, 5, 20];

/**
 * Whether a writer that no process shows can be left to the lock drivers: it is gone by now, or there is a lock
 * that belongs to none of the processes that could be seen.
 */
function isExplained(resource: Resource, files: readonly ResourceFile[], tables: KernelTables): boolean {
  if (isWritten(resource) !== true) return true;
  const inode = inodeOfResource(resource);
  if (inode === undefined) return true;
  const seen = files.flatMap(({ locks }) => locks);
  return unaccountedLocks(resource, inode, readLocksOf(inode), seen, tables)?.some(isWatched) ?? false;
}

const unseenWriter: Holder = {
  host: 'this host',
  through: ['no lock: open for writing by a program that cannot be seen from here'],
  evidence: ['fcntl(F_SETLEASE, F_RDLCK): EAGAIN'],
  refuses: refusedWithoutLock,
  remedy: 'look again as root, outside of any container',
};

/** Whether it is only known that someone writes: what a lock driver knows of a conflict says more. */
export function isUnseenWriter(holder: Holder): boolean {
  return holder === unseenWriter;
}

const unseenReader: Holder = {
  host: 'this host',
  through: ['open for reading by a program that cannot be seen from here'],
  evidence: ['fcntl(F_SETLEASE, F_WRLCK): EAGAIN'],
  refuses: [],
};
