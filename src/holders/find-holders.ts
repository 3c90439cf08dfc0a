/**
 * Who holds or uses a resource: reads the system, never locks. The front door of this folder.
 *
 * Found are processes with a lock on it or with a descriptor that can write, and what the kernel itself does with
 * it (mounts, swap, loop devices, device-mapper). A program that only reads, without a lock, is nobody's
 * holder. What other hosts do is not to be seen from here, and `unseen` says so.
 */
import { isOpenForWriting } from '../system/file-lease.js';
import { readKernelTables } from '../system/kernel-uses.js';
import type { KernelTables } from '../system/kernel-uses.js';
import { readLocksOf } from '../system/lock-lines.js';
import { findOpenFiles } from '../system/open-files.js';
import type { OpenFiles } from '../system/open-files.js';
import { readProcessStat } from '../system/process.js';
import type { Holder, Resource } from '../vocabulary.js';
import type { FindOptions } from './find-unlocked-use.js';
import { hasAnyLock, locksAreSeen } from './fuse-locks.js';
import { kernelHolders } from './kernel-holder.js';
import { coveredBy } from './lock-cover.js';
import { processHolder, processUses } from './process-holder.js';
import type { ProcessUse } from './process-holder.js';
import { inodeOfResource, resourceTargets } from './resource-targets.js';
import type { ResourceTarget } from './resource-targets.js';
import { unaccountedHolders, unaccountedLocks } from './unaccounted-locks.js';
import { lendVirtlockd } from './virtlockd-guest.js';

export { describeProcess } from './describe-process.js';
export { findUnlockedUse } from './find-unlocked-use.js';
export type { FindOptions } from './find-unlocked-use.js';
export { processRemedy } from './process-holder.js';

export interface FoundHolders {
  /** One for each process, guests first, then one for each use by the kernel. */
  readonly holders: readonly Holder[];
  /** Nothing that could hold it was out of sight. */
  readonly complete: boolean;
  /** What was out of sight, in words; there if and only if `complete` is false. */
  readonly unseen?: string;
  /** Nothing of this host was out of sight: whoever holds it all the same is elsewhere, or has just let go. */
  readonly sawThisHost: boolean;
}

/** Who holds or uses a resource. Reads all of /proc: some milliseconds on a small host. Does not throw. */
export async function findHolders(resource: Resource, options: FindOptions = {}): Promise<FoundHolders> {
  if (resource.storage === 'network') {
    const unseen = 'who uses a network disk, which only its server knows';
    return { holders: [], complete: false, unseen, sawThisHost: false };
  }
  const tables = readKernelTables();
  const targets = resourceTargets(resource, tables);
  if (targets.length === 0) return { holders: [], complete: true, sawThisHost: true };

  const inode = resource.storage === 'block' ? undefined : inodeOfResource(resource);
  const before = inode === undefined ? undefined : readLocksOf(inode);
  const scan = await findOpenFiles(targets);
  const ignored = new Set(options.ignorePids);
  const uses = processUses(scan.files);
  const hidden =
    inode === undefined
      ? []
      : unaccountedLocks(
          inode,
          before,
          scan.files.flatMap((file) => file.locks),
        );
  const holders = [
    ...lendVirtlockd(uses, (use) => processHolder(use, unlockedWords(use, uses, resource, tables))),
    ...unaccountedHolders(hidden ?? []),
  ];
  const wanted = holders.filter(({ pid }) => pid === undefined || !ignored.has(pid));
  const unseen = unseenParts(resource, scan, hidden?.some(({ pid }) => pid === undefined) ?? true);
  return {
    holders: [
      ...wanted.filter(({ guest }) => guest !== undefined),
      ...wanted.filter(({ guest }) => guest === undefined),
      ...(await kernelHolders(resource, tables)),
    ],
    complete: unseen.length === 0,
    ...(unseen.length === 0 ? {} : { unseen: unseen.join(', and ') }),
    sawThisHost: unseen.every((part) => part === otherHosts),
  };
}

const otherHosts = 'programs on other hosts that reach the same storage';

function unlockedWords(
  use: ProcessUse,
  all: readonly ProcessUse[],
  resource: Resource,
  tables: KernelTables,
): string {
  if (!locksAreSeen(resource, tables) && hasAnyLock(resource)) {
    return 'open for writing (whether it has a lock does not show on this file system)';
  }
  const cover = coveredBy(use, all);
  return cover === undefined
    ? 'no lock: open for writing'
    : `open for writing, under the lock of process ${cover.pid}`;
}

/** What could hold it and was out of sight, in words. */
function unseenParts(
  resource: Resource,
  scan: OpenFiles<ResourceTarget>,
  someLockIsUnexplained: boolean,
): readonly string[] {
  const parts: string[] = [];
  if (resource.scope === 'cluster') parts.push(otherHosts);
  const unseen = unseenProcesses(scan);
  // Where the kernel says that nobody at all writes, and every lock that it knows has its process, nothing is missing.
  const proven =
    unseen !== undefined &&
    resource.storage === 'file' &&
    !someLockIsUnexplained &&
    resource.path !== undefined &&
    isOpenForWriting(resource.path) === false;
  if (unseen !== undefined && !proven) parts.push(unseen);
  return parts;
}

function unseenProcesses({ denied, hidden }: OpenFiles<unknown>): string | undefined {
  const root = process.geteuid?.() === 0;
  const hint = root ? '' : ' (look as root)';
  if (hidden) return `the processes of other users, which this host hides${hint}`;
  const programs = denied.filter((pid) => readProcessStat(pid)?.kernelThread === false);
  if (programs.length === 0) return undefined;
  return programs.length === 1
    ? `what process ${programs[0]} has open, which may not be seen${hint}`
    : `what ${programs.length} processes have open, which may not be seen${hint}`;
}
