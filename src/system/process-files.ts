/**
 * The files of another process: where a path leads for it, and which regular files it has open. Asks no server, so a dead
 * one on which that process depends keeps nobody waiting here: paths are followed on file systems of this host alone, and
 * of open files only what the kernel knows is taken (statx.ts).
 */
import { closeSync, constants, openSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Inode } from '../vocabulary.js';
import { parseMounts, type Mount, type MountTable } from './mounts.js';
import { nameText } from './name-text.js';
import { readProcText } from './proc-file.js';
import { isRegularFile, noFolder, seenInode, statQuietly } from './statx.js';

/** A host with many containers has thousands of mounts, of 200 bytes each. */
const mountsBytesMax = 16 * 1024 * 1024;
/** As the kernel: path_resolution(7). */
const symlinksMax = 40;

/** A path of another process in full, as that process means it; as it is where its folder cannot be seen. */
export function wholePathOf(pid: number, path: string, root = '/proc'): string {
  if (path.startsWith('/')) return path;
  try {
    return join(nameText(readlinkSync(`${root}/${pid}/cwd`, { encoding: 'buffer' })), path);
  } catch {
    return path;
  }
}

export interface OpenRegularFile {
  /** Leads to the open file itself. */
  readonly path: string;
  /** Where the kernel says that it is. */
  readonly name: string;
  readonly inode: Inode;
}

/** The regular files that a process has open. */
export function openRegularFiles(pid: number, root = '/proc'): OpenRegularFile[] {
  const folder = `${root}/${pid}/fd`;
  let folderFd: number | undefined;
  try {
    const names = readdirSync(folder);
    folderFd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    const found: OpenRegularFile[] = [];
    for (const name of names) {
      if (statQuietly(folderFd, name) !== 0 || !isRegularFile()) continue;
      const inode = seenInode();
      const path = `${folder}/${name}`;
      found.push({ path, inode, name: nameText(readlinkSync(path, { encoding: 'buffer' })) });
    }
    return found;
  } catch {
    return []; // It has ended, or may not be looked at.
  } finally {
    if (folderFd !== undefined) closeSync(folderFd);
  }
}

/** The mounts that a process sees, by mount point; none where they may not be seen. */
export function mountsOf(pid: number, root = '/proc'): MountTable {
  return parseMounts(readProcText(`${root}/${pid}/mountinfo`, mountsBytesMax) ?? '');
}

/**
 * The regular file that a path leads to for a process. Undefined: there is none, or the way to it leads over a file
 * system for which `isLocal` is false.
 */
export function localFileAt(
  pid: number,
  path: string,
  mounts: MountTable,
  isLocal: (mount: Mount) => boolean,
  root = '/proc',
): Inode | undefined {
  const base = `${root}/${pid}/root`;
  const onLocal = (place: string): boolean => {
    const mount = mountAbove(mounts, place);
    return mount !== undefined && isLocal(mount);
  };
  let left = namesOf(wholePathOf(pid, path, root));
  let real = '';
  let symlinks = 0;
  if (!onLocal('/')) return undefined;
  while (left.length > 0) {
    const [name = '', ...rest] = left;
    left = rest;
    if (name === '..') {
      real = real.slice(0, Math.max(0, real.lastIndexOf('/')));
      continue;
    }
    // Before anything is asked of it: the question would be the server's to answer.
    if (!onLocal(`${real}/${name}`)) return undefined;
    const target = linkAt(`${base}${real}/${name}`);
    if (target === undefined) {
      real = `${real}/${name}`;
      continue;
    }
    if (++symlinks > symlinksMax) return undefined;
    if (target.startsWith('/')) real = '';
    left = [...namesOf(target), ...left];
  }
  return statQuietly(noFolder, `${base}${real}`) === 0 && isRegularFile() ? seenInode() : undefined;
}

function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // No symlink; or nothing, which shows at the end.
  }
}

/** The mount that a path without symlinks is on: of several on one point the last one hides the others. */
function mountAbove(mounts: MountTable, path: string): Mount | undefined {
  for (let point = path; ; point = point.slice(0, Math.max(1, point.lastIndexOf('/')))) {
    const found = mounts.get(point)?.at(-1);
    if (found !== undefined || point === '/') return found;
  }
}
