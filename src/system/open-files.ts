/**
 * Which processes have a file open, and with which locks: a walk over /proc/PID/fd.
 *
 * Compared is what a descriptor *is* (device and inode, or the block device), never its path: the path of a hard
 * link, of a bind mount, of a deleted file or of another mount namespace says nothing. No server is asked
 * (statx.ts), so a dead NFS mount in *another* process cannot hang us.
 *
 * Not seen: memory maps whose descriptor is closed (memory-maps.ts), descriptors on their way through a socket or
 * registered with io_uring, and without `threads` those of threads with a table of their own. `isOpenForWriting`
 * (file-lease.ts) sees all of these.
 */
import { closeSync, constants, openSync, readdirSync, readlinkSync } from 'node:fs';
import type { Inode } from '../vocabulary.js';
import { isOwn, threadsWithTables } from './descriptor-tables.js';
import { sameInode } from './inode.js';
import { lockTableBytesMax, parseLockLine } from './lock-lines.js';
import type { LockLine } from './lock-lines.js';
import { nameText } from './name-text.js';
import { listPids, readProcessStat } from './process.js';
import { readProcText } from './proc-file.js';
import { sharedWalk } from './shared-walk.js';
import { inodeLow, isBlockDevice, nodeDevice, noFolder, seenInode, statQuietly } from './statx.js';
import { monotonicMs } from './clock.js';

/** What to look for: an inode, or any device node of a block device (`major:minor`). */
export type FileTarget =
  { readonly kind: 'inode'; readonly inode: Inode } | { readonly kind: 'device'; readonly device: string };

export interface OpenFile<Target> {
  readonly target: Target;
  readonly pid: number;
  /** The thread that has it, where the main thread has not. */
  readonly thread?: number;
  readonly fd: number;
  readonly access: 'read' | 'write' | 'read-write' | 'path';
  /** Locks that this process has through this descriptor. */
  readonly locks: readonly LockLine[];
  /** Of the process that had it (ProcessStat): a pid is given again. Missing where that does not show. */
  readonly startTime?: number;
  /** Where the descriptor leads, as the kernel says it: for people. */
  readonly path?: string;
}

export interface OpenFiles<Target> {
  readonly files: readonly OpenFile<Target>[];
  /** Processes whose descriptors may not be seen, in whole or in part. */
  readonly denied: readonly number[];
  /** /proc is mounted so (hidepid) that other users' processes do not even show. */
  readonly hidden: boolean;
}

/** How long one turn of the event loop is used: a host with 100,000 descriptors takes 0.3 s in all. */
const sliceMs = 8;

const EACCES = 13;
const EPERM = 1;

export interface FindOpenFilesOptions {
  /** Where procfs is mounted, or a recorded tree of one. */
  readonly root?: string;
  /** Also threads with a table of descriptors of their own; takes about a tenth longer. */
  readonly threads?: boolean;
}

/**
 * Every descriptor of every process on one of the targets. Own descriptors are found like all others.
 * Processes come and go meanwhile: those that were there from beginning to end are seen.
 *
 * Calls in the same turn of the event loop share one walk, so ask for many things at once and not one by one.
 */
export async function findOpenFiles<Target extends FileTarget>(
  targets: readonly Target[],
  { root = '/proc', threads = false }: FindOpenFilesOptions = {},
): Promise<OpenFiles<Target>> {
  const found = await (threads ? walkWithThreads : walkOnce)(root, targets);
  const own = new Set<FileTarget>(targets);
  return { ...found, files: found.files.filter((file): file is OpenFile<Target> => own.has(file.target)) };
}

const walkOnce = sharedWalk((root, targets: readonly FileTarget[]) => walkProcesses(root, targets, false));
const walkWithThreads = sharedWalk((root, targets: readonly FileTarget[]) =>
  walkProcesses(root, targets, true),
);

async function walkProcesses(
  root: string,
  targets: readonly FileTarget[],
  threads: boolean,
): Promise<OpenFiles<FileTarget>> {
  const wanted = indexTargets(targets);
  const files: OpenFile<FileTarget>[] = [];
  const denied: number[] = [];
  const pids = listPids(root);
  let sliceStart = monotonicMs();
  for (const pid of pids) {
    if (!walkProcess(root, pid, wanted, files, threads)) denied.push(pid);
    if (monotonicMs() - sliceStart > sliceMs) {
      await new Promise(setImmediate);
      sliceStart = monotonicMs();
    }
  }
  // Process 1 of a pid namespace is always there; without it /proc hides processes, or is not mounted at all.
  return { files, denied, hidden: !pids.includes(1) };
}

type InodeTarget = FileTarget & { kind: 'inode' };

interface WantedTargets {
  /** By the lower 32 bits of the inode number: nearly every descriptor misses here, at no further cost. */
  readonly byInode: ReadonlyMap<number, readonly InodeTarget[]>;
  readonly byDevice: ReadonlyMap<string, readonly FileTarget[]>;
}

function indexTargets(targets: readonly FileTarget[]): WantedTargets {
  const byInode = new Map<number, InodeTarget[]>();
  const byDevice = new Map<string, FileTarget[]>();
  for (const target of targets) {
    if (target.kind === 'inode') {
      const key = Number(BigInt(target.inode.ino) & 0xffff_ffffn);
      byInode.set(key, [...(byInode.get(key) ?? []), target]);
    } else {
      byDevice.set(target.device, [...(byDevice.get(target.device) ?? []), target]);
    }
  }
  return { byInode, byDevice };
}

/** False: not all of the process's descriptors could be seen. */
function walkProcess(
  root: string,
  pid: number,
  wanted: WantedTargets,
  files: OpenFile<FileTarget>[],
  threads: boolean,
): boolean {
  const seen = walkTable({ pid, folder: `${root}/${pid}` }, root, wanted, files);
  // Once the main thread has ended its table is empty, and may not be seen but by root.
  const mayHaveEnded = seen === 'empty' || (seen === 'denied' && isOwn(root, pid));
  const others = threads || mayHaveEnded ? threadsWithTables(root, pid) : [];
  const outcomes = others.map((thread) =>
    walkTable({ pid, thread, folder: `${root}/${pid}/task/${thread}` }, root, wanted, files),
  );
  if (seen === 'denied' && (others.length === 0 || readProcessStat(pid, { root })?.state !== 'Z'))
    return false;
  return !outcomes.includes('denied');
}

/** A table of descriptors: a process's, or a thread's own. */
interface Table {
  readonly pid: number;
  readonly thread?: number;
  /** In /proc. */
  readonly folder: string;
}

function walkTable(
  table: Table,
  root: string,
  wanted: WantedTargets,
  files: OpenFile<FileTarget>[],
): 'seen' | 'empty' | 'denied' {
  const folder = `${table.folder}/fd`;
  let folderFd: number | undefined;
  let startTime: number | undefined;
  try {
    const names = readdirSync(folder);
    if (names.length === 0) return 'empty';
    folderFd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    for (const name of names) {
      const number = statQuietly(folderFd, name);
      if (number !== 0) {
        // The permission is the process's (ptrace(2), "access mode checking"): the other descriptors have the same.
        if (number === EACCES || number === EPERM) return 'denied';
        continue;
      }
      const found = matchTargets(wanted);
      if (found.length === 0) continue;
      startTime ??= readProcessStat(table.pid, { root })?.startTime;
      const described = describeDescriptor(table, name, found, startTime);
      // The folder is the process's that it was opened of: while a descriptor is in it, the pid is no other's, and what
      // was read by the pid is true of it.
      if (statQuietly(folderFd, name) === 0 && matchTargets(wanted).length > 0) files.push(...described);
    }
    return 'seen';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    // What ended needs no look; what could not be looked at for another reason (EACCES, EMFILE) did not end.
    return code === 'ENOENT' || code === 'ESRCH' ? 'seen' : 'denied';
  } finally {
    if (folderFd !== undefined) closeSync(folderFd);
  }
}

/** The targets that what was looked at last is. */
function matchTargets(wanted: WantedTargets): readonly FileTarget[] {
  if (isBlockDevice()) {
    return wanted.byDevice.size === 0 ? [] : (wanted.byDevice.get(nodeDevice()) ?? []);
  }
  const candidates = wanted.byInode.get(inodeLow());
  if (candidates === undefined) return [];
  const seen = seenInode();
  return candidates.filter(({ inode }) => sameInode(inode, seen));
}

/** One entry for each target that a descriptor is; none where it was closed meanwhile. */
function describeDescriptor(
  { pid, thread, folder }: Table,
  name: string,
  targets: readonly FileTarget[],
  startTime: number | undefined,
): OpenFile<FileTarget>[] {
  // Only in what is no procfs is there any other.
  if (!/^\d+$/.test(name)) return [];
  const info = parseFdinfo(readProcText(`${folder}/fdinfo/${name}`, lockTableBytesMax) ?? '');
  if (info === undefined) return [];
  const path = linkText(`${folder}/fd/${name}`);
  return targets
    .filter((target) => target.kind === 'device' || info.ino === undefined || info.ino === target.inode.ino)
    .map((target) => ({
      target,
      pid,
      ...(thread === undefined ? {} : { thread }),
      fd: Number(name),
      access: info.access,
      locks: info.locks,
      ...(startTime === undefined ? {} : { startTime }),
      ...(path === undefined ? {} : { path }),
    }));
}

/** Whether a descriptor is still open on what it was found on. */
export function isStillOpen({ pid, thread, fd, target }: OpenFile<FileTarget>, root = '/proc'): boolean {
  const folder = thread === undefined ? `${root}/${pid}` : `${root}/${pid}/task/${thread}`;
  return statQuietly(noFolder, `${folder}/fd/${fd}`) === 0 && matchTargets(indexTargets([target])).length > 0;
}

interface Fdinfo {
  readonly access: OpenFile<unknown>['access'];
  /** Since Linux 5.14: the number may be another file's by the time this is read. */
  readonly ino?: string;
  readonly locks: readonly LockLine[];
}

const O_ACCMODE = 0o3;
const O_PATH = 0o10000000;

/** /proc/PID/fdinfo/FD; undefined: not of that form. Lines of other kinds (of epoll, inotify) are passed over. */
export function parseFdinfo(text: string): Fdinfo | undefined {
  const flags = /^flags:\s*([0-7]+)$/m.exec(text)?.[1];
  if (flags === undefined) return undefined;
  const ino = /^ino:\s*(\d+)$/m.exec(text)?.[1];
  return {
    access: accessOf(Number.parseInt(flags, 8)),
    ...(ino === undefined ? {} : { ino }),
    locks: [...text.matchAll(/^lock:(.*)$/gm)]
      .map((found) => parseLockLine(found[1] ?? ''))
      .filter((lock) => lock !== undefined),
  };
}

function accessOf(flags: number): Fdinfo['access'] {
  // A descriptor opened with O_PATH (open(2)) can neither read nor write.
  if ((flags & O_PATH) !== 0) return 'path';
  const mode = flags & O_ACCMODE;
  // The fourth value, 3, asks for both permissions and allows ioctl(2) alone: some old disk tools use it.
  return mode === 0 ? 'read' : mode === 1 ? 'write' : 'read-write';
}

function linkText(path: string): string | undefined {
  try {
    return nameText(readlinkSync(path, { encoding: 'buffer' }));
  } catch {
    return undefined;
  }
}
