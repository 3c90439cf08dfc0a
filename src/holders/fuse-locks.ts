/**
 * Locks on FUSE file systems (GlusterFS, CephFS through FUSE) are the server's: neither /proc/locks nor fdinfo has
 * them. Whether there are any can only be asked of the file itself.
 */
import { closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { inodeOf, sameInode } from '../system/inode.js';
import type { KernelTables } from '../system/kernel-uses.js';
import { testLock } from '../system/ofd-lock.js';
import type { Resource } from '../vocabulary.js';
import { inodeOfResource } from './resource-targets.js';

/** QEMU's last byte and all below it: every byte that lock drivers look at. */
const watchedLength = 204;

/** Whether the locks of a file show in /proc. */
export function locksAreSeen(resource: Resource, { mounts }: KernelTables): boolean {
  const dev = resource.storage === 'file' ? inodeOfResource(resource)?.dev : undefined;
  const type = mounts.find((mount) => mount.dev === dev)?.type;
  return type === undefined || !/^fuse(blk|\.|$)/.test(type);
}

/** Whether anyone at all, here or elsewhere, has a lock where lock drivers look; true where it cannot be asked. */
export function hasAnyLock(resource: Resource): boolean {
  const { path } = resource;
  const inode = inodeOfResource(resource);
  let fd: number | undefined;
  try {
    if (path === undefined || inode === undefined || !statSync(path).isFile()) return true;
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    if (!sameInode(inodeOf(fstatSync(fd, { bigint: true })), inode)) return true;
    return testLock(fd, 'write', 0, watchedLength) !== undefined;
  } catch {
    return true;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
