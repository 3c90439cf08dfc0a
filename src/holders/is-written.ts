/** Whether anyone at all writes a regular file, or has it open, by the kernel's word: some 10 us, where a walk over /proc takes milliseconds. */
import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { isOpenElsewhere, isOpenForWriting } from '../system/file-lease.js';
import { inodeOf, sameInode } from '../system/inode.js';
import type { Resource } from '../vocabulary.js';

/**
 * Whether anyone at all writes a regular file. Undefined for all else, where the path leads elsewhere by now, and on
 * network file systems and unknown ones: there a lease tells only of writers through the same mount (seen with
 * GlusterFS).
 */
export function isWritten(resource: Resource): boolean | undefined {
  return askOf(resource, isOpenForWriting);
}

/** Whether anyone at all has it open, if only to read; undefined as above. For who asks, and not at a start (file-lease.ts). */
export function isUsed(resource: Resource): boolean | undefined {
  return askOf(resource, (fd) => isOpenElsewhere(fd));
}

function askOf(
  { storage, scope, unknownFileSystem, path, inode }: Resource,
  ask: (fd: number) => boolean | undefined,
): boolean | undefined {
  if (storage !== 'file' || scope !== 'host' || unknownFileSystem !== undefined) return undefined;
  if (path === undefined || inode === undefined) return undefined;
  let fd: number | undefined;
  try {
    // Before opening: what took its place might be a device. After: it might have been changed in between.
    if (!sameInode(inodeOf(statSync(path, { bigint: true })), inode)) return undefined;
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return sameInode(inodeOf(fstatSync(fd, { bigint: true })), inode) ? ask(fd) : undefined;
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
