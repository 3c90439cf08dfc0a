/**
 * What a path leads to for another process, which may have another root or mount namespace, without asking any server: an
 * NFS mount whose server is gone keeps whoever looks up a name on it, for ever.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Inode } from '../vocabulary.js';
import { parseMounts, type MountTable } from './mounts.js';
import { isBlockDevice, isRegularFile, noFolder, nodeDevice, seenInode, statQuietly } from './statx.js';

export interface FileOfProcess {
  readonly inode: Inode;
  readonly regular: boolean;
  /** Of a block device: `major:minor`. */
  readonly device?: string;
}

/** Types of file systems on which a name is looked up by this kernel alone. */
const localTypes: ReadonlySet<string> = new Set(
  'ext2 ext3 ext4 xfs btrfs bcachefs zfs f2fs jfs tmpfs ramfs devtmpfs rootfs overlay vfat exfat iso9660 squashfs erofs'.split(
    ' ',
  ),
);

/** path_resolution(7): the kernel follows no more. */
const symlinksMax = 40;

/**
 * `path` as the process would write it. A name that it has open is looked at by its descriptor; any other only as long as the
 * way to it leads over local file systems. Undefined: it is not there, or not to be seen so.
 */
export function fileOfProcess(pid: number, path: string, proc = '/proc'): FileOfProcess | undefined {
  const folder = `${proc}/${pid}`;
  const opened = openPaths(folder);
  const mounts = mountsOf(folder, proc);
  let wanted = resolve(linkAt(`${folder}/cwd`) ?? '/', path);
  for (let followed = 0; followed <= symlinksMax; followed++) {
    const fd = opened.get(wanted);
    if (fd !== undefined) return seenAt(`${folder}/fd/${fd}`);
    const next = firstSymlink(wanted, `${folder}/root`, mounts);
    if (next === 'none') return seenAt(`${folder}/root${wanted}`);
    if (next === 'not local') return undefined;
    wanted = next;
  }
  return undefined;
}

function seenAt(path: string): FileOfProcess | undefined {
  if (statQuietly(noFolder, path) !== 0) return undefined;
  return {
    inode: seenInode(),
    regular: isRegularFile(),
    ...(isBlockDevice() ? { device: nodeDevice() } : {}),
  };
}

/** Its descriptors, by the path that the kernel has for each; links of a procfs are read without asking anybody. */
function openPaths(folder: string): ReadonlyMap<string, string> {
  const paths = new Map<string, string>();
  try {
    for (const fd of readdirSync(`${folder}/fd`)) {
      const path = linkAt(`${folder}/fd/${fd}`);
      if (path !== undefined) paths.set(path, fd);
    }
  } catch {
    // It has ended, or is another user's.
  }
  return paths;
}

function mountsOf(folder: string, proc: string): MountTable {
  for (const each of [folder, `${proc}/self`]) {
    try {
      return parseMounts(readFileSync(`${each}/mountinfo`, 'utf8'));
    } catch {
      // That of this process is mostly the same.
    }
  }
  return new Map();
}

/** The path with its first symlink replaced; `not local`: before any, it comes to a file system that may ask a server. */
function firstSymlink(path: string, root: string, mounts: MountTable): string {
  const names = path.split('/').slice(1);
  let before = '/';
  for (const [index, name] of names.entries()) {
    const here = join(before, name);
    if (!isLocal(here, mounts)) return 'not local';
    const target = linkAt(root + here);
    if (target !== undefined) return resolve(dirname(here), target, ...names.slice(index + 1));
    before = here;
  }
  return 'none';
}

/** By what is mounted last at the nearest place above, or there. */
function isLocal(path: string, mounts: MountTable): boolean {
  for (let point = path; ; point = dirname(point)) {
    const mount = mounts.get(point)?.at(-1);
    if (mount !== undefined) return localTypes.has(mount.type);
    if (point === '/') return false;
  }
}

/** Undefined: it is no symlink, or cannot be read. */
function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
