/**
 * Who holds or uses a resource: reads the system, never locks. The front door of this folder.
 *
 * Found are processes with a lock on it or with a way to write it, and what the kernel itself does with it (mounts,
 * swap, loop devices, device-mapper). A program that only reads, without a lock, is nobody's holder: it is in the
 * answer for `everyone`, and refuses nothing. What other hosts do is not to be seen from here, and `unseen` says so.
 */
import { seesWholeHost } from '../system/container.js';
import { isOpenForWriting } from '../system/file-lease.js';
import { readKernelTables } from '../system/kernel-uses.js';
import type { KernelTables } from '../system/kernel-uses.js';
import { readLocksOf } from '../system/lock-lines.js';
import { findMappings } from '../system/memory-maps.js';
import { findOpenFiles } from '../system/open-files.js';
import type { OpenFiles } from '../system/open-files.js';
import type { Holder, Resource } from '../vocabulary.js';
import { belowDevice } from './device-stack.js';
import type { FindOptions as UnlockedOptions } from './find-unlocked-use.js';
import { hasAnyLock, locksAreSeen } from './fuse-locks.js';
import { isUsed, isWritten } from './is-written.js';
import { kernelHolders } from './kernel-holder.js';
import { coveredBy } from './lock-cover.js';
import { processHolder } from './process-holder.js';
import { isWriting, processUses } from './process-use.js';
import type { ProcessUse, ResourceFile } from './process-use.js';
import { isOfQemu } from './qemu-command-line.js';
import { deviceOfResource, inodeOfResource, resourceTargets } from './resource-targets.js';
import type { ResourceTarget } from './resource-targets.js';
import { unaccountedHolders, unaccountedLocks } from './unaccounted-locks.js';
import { isUnlocked } from './unlocked-writer.js';
import { unseenProcesses } from './unseen-processes.js';
import { withoutPassing } from './passing-readers.js';
import { lendVirtlockd } from './virtlockd-guest.js';
import { findHiddenReaders, findHiddenWriters } from './written-file.js';
import type { HiddenWriters } from './written-file.js';

export { describeProcess } from './describe-process.js';
export { findUnlockedUse } from './find-unlocked-use.js';
export { guestRemedy, processRemedy } from './process-holder.js';
export { isUnseenWriter } from './written-file.js';
export { qcow2Images } from './qcow2-images.js';
export { refusedByMode } from './refused-modes.js';

export interface FindOptions extends UnlockedOptions {
  /** Also who is only shown and refuses nothing: readers without a lock, leases, read-only maps. */
  readonly everyone?: boolean;
  /** What a process of QEMU's that has the resource open only for reading uses it as, in words. */
  readonly readersUse?: (pid: number, resource: Resource) => readonly string[];
}

export interface FoundHolders {
  /** One for each process, guests first, then one for each use by the kernel. */
  readonly holders: readonly Holder[];
  /** Nothing that could hold it was out of sight. */
  readonly complete: boolean;
  /** What was out of sight, in words; there if and only if `complete` is false. */
  readonly unseen?: string;
  /** Nothing of this host was out of sight: whoever holds it all the same is elsewhere, or has just let go. */
  readonly sawThisHost: boolean;
  /** What a block device stands on, in words, nearest first (`/dev/sda1 is a partition of /dev/sda`). */
  readonly standsOn?: readonly string[];
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
  // Of a file the kernel says whether somebody has it whom no main thread shows, and then all threads are looked at.
  const threads = options.everyone === true && isWritten(resource) === undefined;
  const looked = await findOpenFiles(targets, { threads });
  const scan = options.everyone === true ? { ...looked, files: await withoutPassing(looked.files) } : looked;
  const kernel = await kernelHolders(resource, tables, scan.files);
  const found = await findMaps(resource, targets, scan.files, kernel, tables, options);
  const { files, maps, unseen: nobody } = found;
  const locks = files.flatMap((file) => file.locks);
  const hidden = inode === undefined ? [] : unaccountedLocks(resource, inode, before, locks, tables);
  const holders = [
    ...describeUses(processUses(files, maps, options.everyone), resource, tables, options),
    ...unaccountedHolders(hidden ?? []),
    // Who has a lock has it open as well.
    ...nobody.filter(({ refuses }) => refuses?.length !== 0 || hidden?.length === 0),
  ];
  const isUnexplained = hidden?.some(({ pid }) => pid === undefined) ?? true;
  const unseen = unseenParts(resource, scan, isUnexplained, options.everyone);
  const standsOn = standsOnWords(resource, tables);
  return {
    holders: [
      ...holders.filter(({ guest }) => guest !== undefined),
      ...holders.filter(({ guest }) => guest === undefined),
      ...kernel,
    ],
    complete: unseen.length === 0,
    ...(unseen.length === 0 ? {} : { unseen: unseen.join(', and ') }),
    sawThisHost: unseen.every((part) => part === otherHosts),
    ...(standsOn.length === 0 ? {} : { standsOn }),
  };
}

const otherHosts = 'programs on other hosts that reach the same storage';

/** Maps of the resource where they add something: for everyone, or where the kernel knows a writer that nothing shows. */
async function findMaps(
  resource: Resource,
  targets: readonly ResourceTarget[],
  files: readonly ResourceFile[],
  kernel: readonly Holder[],
  tables: KernelTables,
  { everyone = false }: FindOptions,
): Promise<HiddenWriters> {
  const explained = files.some(isWriting) || kernel.some(({ refuses }) => refuses?.length !== 0);
  const found =
    !explained && isWritten(resource) === true
      ? await findHiddenWriters(resource, targets, files, tables)
      : { files, maps: [], unseen: [] };
  if (!everyone) return found;
  const { mappings: maps } = await findMappings(targets);
  const shown = found.files.some(({ access }) => access !== 'path') || maps.length > 0;
  if (shown || kernel.length > 0 || found.unseen.length > 0) return { ...found, maps };
  return findHiddenReaders(resource, targets);
}

function describeUses(
  uses: readonly ProcessUse[],
  resource: Resource,
  tables: KernelTables,
  { ignorePids = [], readersUse }: FindOptions,
): Holder[] {
  const describe = (use: ProcessUse): Holder => {
    const { process, pid, writes } = use;
    const reads = !writes && (isOfQemu(process.program) || process.appliance !== undefined);
    return processHolder(use, {
      unlocked: unlockedWords(use, uses, resource, tables),
      isUnlocked: isUnlocked(use, uses, resource, tables),
      more: reads ? (readersUse?.(pid, resource) ?? []) : [],
    });
  };
  // virtlockd's lock is lent to its guest whoever asks, so nobody is left out before that.
  const ignored = new Set(ignorePids);
  return lendVirtlockd(uses, describe, ({ pid }) => !ignored.has(pid));
}

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

function standsOnWords(resource: Resource, tables: KernelTables): readonly string[] {
  const device = resource.storage === 'block' ? deviceOfResource(resource) : undefined;
  return device === undefined ? [] : belowDevice(device, tables).map(({ words }) => words);
}

/** What could hold it and was out of sight, in words. */
function unseenParts(
  resource: Resource,
  scan: OpenFiles<ResourceTarget>,
  someLockIsUnexplained: boolean,
  everyone = false,
): readonly string[] {
  const parts: string[] = [];
  if (resource.scope === 'cluster') parts.push(otherHosts);
  const processes = unseenProcesses(scan);
  const here = [
    ...(processes === undefined ? [] : [processes]),
    ...(seesWholeHost()
      ? []
      : ['programs outside of this container or pid namespace (look on the host itself)']),
  ];
  // Where the kernel says that nobody at all writes, and every lock that it knows has its process, nothing is missing;
  // for everyone, where nobody at all has it open.
  const proven =
    here.length > 0 &&
    resource.storage === 'file' &&
    !someLockIsUnexplained &&
    resource.path !== undefined &&
    (everyone ? isUsed(resource) : isOpenForWriting(resource.path)) === false;
  return proven ? parts : [...parts, ...here];
}
