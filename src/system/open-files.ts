/**
 * Which processes have a file open, and with which locks: a walk over /proc/PID/fd.
 *
 * Compared is what a descriptor *is* (device and inode, or the block device), never its path: the path of a hard
 * link, of a bind mount, of a deleted file or of another mount namespace says nothing. Measured for 2,400
 * descriptors: statx(2) beside the open directory 3.1 us each, statx with whole paths 3.8, Node's stat 5.8,
 * readlink and then stat 8.8. With AT_STATX_DONT_SYNC it asks no server, so a dead NFS mount in *another*
 * process cannot hang us.
 *
 * Not seen: memory maps whose descriptor is closed (memory-maps.ts), descriptors on their way through a socket or
 * registered with io_uring, threads with a descriptor table of their own (unshare(2), CLONE_FILES) or that outlive
 * their first one (both in /proc/PID/task). `isOpenForWriting` (file-lease.ts) sees all of these.
 */
import { closeSync, constants, openSync, readdirSync, readlinkSync } from 'node:fs';
import type { Inode } from '../vocabulary.js';
import { errno, libcFunction } from './libc.js';
import { lockTableBytesMax, parseLockLine } from './lock-lines.js';
import type { LockLine } from './lock-lines.js';
import { nameText } from './name-text.js';
import { listPids } from './process.js';
import { readProcText } from './proc-file.js';
import { sharedWalk } from './shared-walk.js';
import { monotonicMs } from './clock.js';

/** What to look for: an inode, or any device node of a block device (`major:minor`). */
export type FileTarget =
  { readonly kind: 'inode'; readonly inode: Inode } | { readonly kind: 'device'; readonly device: string };

export interface OpenFile<Target> {
  readonly target: Target;
  readonly pid: number;
  readonly fd: number;
  readonly access: 'read' | 'write' | 'read-write' | 'path';
  /** Locks that this process has through this descriptor. */
  readonly locks: readonly LockLine[];
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

const AT_STATX_DONT_SYNC = 0x4000;
const STATX_TYPE_AND_INO = 0x1 | 0x100;
const S_IFMT = 0o170000;
const S_IFBLK = 0o060000;
const EACCES = 13;
const EPERM = 1;

const statx = libcFunction<[folder: number, path: string, flags: number, mask: number, result: Buffer]>(
  'int statx(int folder, const char *path, int flags, uint mask, void *result)',
);
/** `struct statx` (statx(2)): mode at 28, inode at 32, device of a node at 128, device of the file at 136. */
const statxResult = Buffer.alloc(256);

/**
 * Every descriptor of every process on one of the targets. Own descriptors are found like all others.
 * Processes come and go meanwhile: those that were there from beginning to end are seen.
 *
 * Calls in the same turn of the event loop share one walk, so ask for many things at once and not one by one.
 */
export async function findOpenFiles<Target extends FileTarget>(
  targets: readonly Target[],
  options: { readonly root?: string } = {},
): Promise<OpenFiles<Target>> {
  const found = await walkOnce(options.root ?? '/proc', targets);
  const own = new Set<FileTarget>(targets);
  return { ...found, files: found.files.filter((file): file is OpenFile<Target> => own.has(file.target)) };
}

const walkOnce = sharedWalk(walkProcesses);

async function walkProcesses(root: string, targets: readonly FileTarget[]): Promise<OpenFiles<FileTarget>> {
  const wanted = indexTargets(targets);
  const files: OpenFile<FileTarget>[] = [];
  const denied: number[] = [];
  const pids = listPids(root);
  let sliceStart = monotonicMs();
  for (const pid of pids) {
    if (!walkProcess(root, pid, wanted, files)) denied.push(pid);
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
): boolean {
  const folder = `${root}/${pid}/fd`;
  let folderFd: number | undefined;
  try {
    const names = readdirSync(folder);
    if (names.length === 0) return true;
    folderFd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    for (const name of names) {
      if (statx(folderFd, name, AT_STATX_DONT_SYNC, STATX_TYPE_AND_INO, statxResult) !== 0) {
        const number = errno();
        // The permission is the process's (ptrace(2), "access mode checking"): the other descriptors have the same.
        if (number === EACCES || number === EPERM) return false;
        continue;
      }
      const found = matchTargets(wanted);
      if (found.length > 0) files.push(...describeDescriptor(root, pid, name, found));
    }
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    // What ended needs no look; what could not be looked at for another reason (EACCES, EMFILE) did not end.
    return code === 'ENOENT' || code === 'ESRCH';
  } finally {
    if (folderFd !== undefined) closeSync(folderFd);
  }
}

/** The targets that `statxResult` is. */
function matchTargets(wanted: WantedTargets): readonly FileTarget[] {
  if ((statxResult.readUInt16LE(28) & S_IFMT) === S_IFBLK) {
    if (wanted.byDevice.size === 0) return [];
    return wanted.byDevice.get(`${statxResult.readUInt32LE(128)}:${statxResult.readUInt32LE(132)}`) ?? [];
  }
  const candidates = wanted.byInode.get(statxResult.readUInt32LE(32));
  if (candidates === undefined) return [];
  const ino = statxResult.readBigUInt64LE(32).toString();
  const dev = `${statxResult.readUInt32LE(136)}:${statxResult.readUInt32LE(140)}`;
  return candidates.filter(({ inode }) => inode.ino === ino && inode.dev === dev);
}

/** One entry for each target that a descriptor is; none where it was closed meanwhile. */
function describeDescriptor(
  root: string,
  pid: number,
  name: string,
  targets: readonly FileTarget[],
): OpenFile<FileTarget>[] {
  // Only in what is no procfs is there any other.
  if (!/^\d+$/.test(name)) return [];
  const info = parseFdinfo(readProcText(`${root}/${pid}/fdinfo/${name}`, lockTableBytesMax) ?? '');
  if (info === undefined) return [];
  const path = linkText(`${root}/${pid}/fd/${name}`);
  return targets
    .filter((target) => target.kind === 'device' || info.ino === undefined || info.ino === target.inode.ino)
    .map((target) => ({
      target,
      pid,
      fd: Number(name),
      access: info.access,
      locks: info.locks,
      ...(path === undefined ? {} : { path }),
    }));
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
