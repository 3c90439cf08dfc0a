/** The files of another process: where a path leads for it, and which regular files it has open. */
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Inode } from '../vocabulary.js';
import { inodeOf } from './inode.js';
import { nameText } from './name-text.js';

/**
 * A path of this process to what a path means to another one: in its root and, if relative, its folder. A symlink with
 * an absolute target in it is followed in *our* root, so compare what is found with what the process has open.
 */
export function pathSeenBy(pid: number, path: string, root = '/proc'): string {
  return path.startsWith('/') ? `${root}/${pid}/root${path}` : `${root}/${pid}/cwd/${path}`;
}

/** A path of another process in full, as that process means it; as it is where its folder cannot be seen. */
export function wholePathOf(pid: number, path: string, root = '/proc'): string {
  if (path.startsWith('/')) return path;
  try {
    return join(nameText(readlinkSync(`${root}/${pid}/cwd`, { encoding: 'buffer' })), path);
  } catch {
    return path;
  }
}

/** The inode of a regular file, whatever path leads there; undefined: there is none, or it cannot be reached. */
export function regularFileAt(path: string): Inode | undefined {
  try {
    const stats = statSync(path, { bigint: true });
    return stats.isFile() ? inodeOf(stats) : undefined;
  } catch {
    return undefined;
  }
}

/** The regular files that a process has open, each by a path that leads to the open file itself. */
export function openRegularFiles(pid: number, root = '/proc'): { path: string; inode: Inode }[] {
  const folder = `${root}/${pid}/fd`;
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return []; // It has ended, or may not be looked at.
  }
  return names.flatMap((name) => {
    const path = `${folder}/${name}`;
    const inode = regularFileAt(path);
    return inode === undefined ? [] : [{ path, inode }];
  });
}
