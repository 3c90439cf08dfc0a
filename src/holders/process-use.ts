/** What one process has of one resource: all of its descriptors and memory maps together. */
import { statSync } from 'node:fs';
import { inodeOf, sameInode } from '../system/inode.js';
import type { LockLine } from '../system/lock-lines.js';
import type { Mapping } from '../system/memory-maps.js';
import type { OpenFile } from '../system/open-files.js';
import type { Inode } from '../vocabulary.js';
import { describeProcess } from './describe-process.js';
import type { ProcessDescription } from './describe-process.js';
import { isVirtlockdLock, isWatched } from './lock-meaning.js';
import type { ResourceTarget } from './resource-targets.js';

export type ResourceFile = OpenFile<ResourceTarget>;
export type ResourceMap = Mapping<ResourceTarget>;

/** What one process has open, or mapped, of one resource. */
export interface ProcessUse {
  readonly pid: number;
  readonly process: ProcessDescription;
  readonly files: readonly ResourceFile[];
  readonly maps: readonly ResourceMap[];
  /** It can write through one of them. */
  readonly writes: boolean;
  /** It has a lock where lock drivers look. */
  readonly locked: boolean;
  /** The lock is virtlockd's, who takes it for a guest and uses nothing itself. */
  readonly virtlockd: boolean;
}

/**
 * Uses by process, in the order of pids; processes that have ended meanwhile are left out.
 * @param everyone also those that neither lock nor write; else they are no use.
 */
export function processUses(
  files: readonly ResourceFile[],
  maps: readonly ResourceMap[] = [],
  everyone = false,
): ProcessUse[] {
  const ownFiles = byPid(files.filter((file) => (everyone ? file.access !== 'path' : counts(file))));
  const ownMaps = byPid(maps.filter((map) => everyone || map.writes));
  return [...new Set([...ownFiles.keys(), ...ownMaps.keys()])]
    .toSorted((a, b) => a - b)
    .flatMap((pid) => useOf(pid, ownFiles.get(pid) ?? [], ownMaps.get(pid) ?? []) ?? []);
}

function useOf(
  pid: number,
  files: readonly ResourceFile[],
  maps: readonly ResourceMap[],
): ProcessUse | undefined {
  const process = describeProcess(pid);
  if (process === undefined) return undefined;
  // It has ended since, and another one has its pid.
  if (
    [...files, ...maps].some(({ startTime }) => startTime !== undefined && startTime !== process.startTime)
  ) {
    return undefined;
  }
  const locks = files.flatMap((file) => file.locks);
  return {
    pid,
    process,
    files,
    maps,
    writes: files.some(isWriting) || maps.some((map) => map.writes),
    locked: files.some((file) => metLocks(file).some(isWatched)),
    virtlockd: locks.length > 0 && locks.every((lock) => isVirtlockdLock(lock, process.program)),
  };
}

export function isWriting({ access }: ResourceFile): boolean {
  return access === 'write' || access === 'read-write';
}

/** A lease is no lock: it only says who wants to hear of others. */
function counts(file: ResourceFile): boolean {
  return isWriting(file) || file.locks.some(({ kind }) => kind !== 'LEASE');
}

/**
 * The locks of a descriptor that a lock driver meets. Locks are on inodes, and a block device has as many as it has
 * nodes: libvirt gives its guests nodes of their own in a private /dev, and what QEMU locks there nobody else meets.
 */
export function metLocks({ locks, target }: ResourceFile): readonly LockLine[] {
  if (target.kind === 'inode' || locks.length === 0) return locks;
  const node = target.relation === 'self' ? target.resource.inode : nodeAt(target.on);
  return node === undefined ? locks : locks.filter((lock) => sameInode(lock.inode, node));
}

function nodeAt(path: string | undefined): Inode | undefined {
  if (path === undefined) return undefined;
  try {
    return inodeOf(statSync(path, { bigint: true }));
  } catch {
    return undefined;
  }
}

function byPid<Found extends { readonly pid: number }>(found: readonly Found[]): Map<number, Found[]> {
  const map = new Map<number, Found[]>();
  for (const one of found) {
    const own = map.get(one.pid);
    if (own === undefined) map.set(one.pid, [one]);
    else own.push(one);
  }
  return map;
}
