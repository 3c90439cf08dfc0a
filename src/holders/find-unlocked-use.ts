/**
 * The check before locking: does anyone use a resource who would never meet our lock? Mounted, swap, claimed by the
 * kernel, or written by a program that has no lock where lock drivers look.
 */
import { readKernelTables } from '../system/kernel-uses.js';
import type { KernelTables } from '../system/kernel-uses.js';
import { findOpenFiles } from '../system/open-files.js';
import type { Holder, Resource } from '../vocabulary.js';
import { isWritten } from './is-written.js';
import { kernelHolders } from './kernel-holder.js';
import { processHolder } from './process-holder.js';
import { processUses } from './process-use.js';
import type { ProcessUse, ResourceFile, ResourceMap } from './process-use.js';
import { resourceTargets } from './resource-targets.js';
import type { ResourceTarget } from './resource-targets.js';
import { isUnlocked } from './unlocked-writer.js';
import { findHiddenWriters } from './written-file.js';

export interface FindOptions {
  /** Processes to leave out of the answer: usually the caller's own. */
  readonly ignorePids?: readonly number[];
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
    const isOwn = (target: ResourceTarget): boolean => target.resource === doubt.resource;
    const own = files.filter(({ target }) => isOwn(target));
    const holders = await unlockedUses(
      doubt,
      targets.filter(isOwn),
      own,
      tables,
      new Set(options.ignorePids),
    );
    if (holders.length > 0) found.set(doubt.resource.identity, holders);
  }
  return found;
}

/** `written`: someone has it open for writing; undefined: not known. */
interface Doubt {
  readonly resource: Resource;
  readonly written: boolean | undefined;
}

async function unlockedUses(
  { resource, written }: Doubt,
  targets: readonly ResourceTarget[],
  files: readonly ResourceFile[],
  tables: KernelTables,
  ignored: ReadonlySet<number>,
): Promise<Holder[]> {
  const writers = (open: readonly ResourceFile[], maps: readonly ResourceMap[]): Holder[] => {
    const uses = processUses(open, maps);
    return uses
      .filter(
        (use) => use.writes && !ignored.has(use.pid) && isUnlocked(use, uses, resource, tables) === true,
      )
      .map((use: ProcessUse) =>
        processHolder(use, { unlocked: 'no lock: open for writing', isUnlocked: true }),
      );
  };
  const kernel = (await kernelHolders(resource, tables, files)).filter(
    ({ refuses }) => refuses?.length !== 0,
  );
  const holders = [...writers(files, []), ...kernel];
  if (holders.length > 0 || written !== true || processUses(files).some((use) => use.writes)) return holders;
  const hidden = await findHiddenWriters(resource, targets, files, tables);
  return [...writers(hidden.files, hidden.maps), ...hidden.unseen];
}
