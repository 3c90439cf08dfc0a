/**
 * A path is looked up here, in the daemon's mount namespace and below its root. For a process in a container it can lead to
 * another file, and what it was granted would be the lock of something else.
 */
import { HoldfastError } from '../../errors.js';
import { fileOfProcess } from '../../system/file-of-process.js';
import { sameInode } from '../../system/inode.js';
import { maySharePaths } from '../../system/mount-namespace.js';
import type { LockRequest, Resource } from '../../vocabulary.js';

/**
 * Throws `BAD_DATA` where what was locked is not what the process would open by that name. What cannot be looked at from here
 * is taken for the same.
 */
export function requireSameFiles(pid: number, requests: readonly LockRequest[]): void {
  if (maySharePaths(pid)) return;
  const other = requests.find(({ resource }) => isAnother(pid, resource))?.resource.label;
  if (other === undefined) return;
  throw new HoldfastError(
    'BAD_DATA',
    `${other} is another file for process ${pid} than it is for the daemon`,
    {
      resource: other,
      remedy: 'Ask from the mount namespace that the daemon runs in, with the path that the file has there.',
    },
  );
}

function isAnother(pid: number, { path, storage, inode, device }: Resource): boolean {
  const seen = path === undefined ? undefined : fileOfProcess(pid, path);
  if (seen === undefined) return false;
  if (storage === 'block') return device !== undefined && seen.device !== device;
  return inode !== undefined && !sameInode(seen.inode, inode);
}
