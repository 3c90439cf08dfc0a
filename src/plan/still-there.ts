/** Whether what was planned is still what is there: asked again after locking, because names can move in between. */
import { statSync } from 'node:fs';
import type { Inode, LockRequest, Plan } from '../vocabulary.js';
import { deviceName, inodeOf, sameInode } from '../system/inode.js';

/**
 * Whether a request's paths still lead to the inode that was planned, or for a block device to the same device.
 * What has no path cannot move. One `stat`, which is not worth a thread; never throws: what cannot be seen any more counts as moved.
 */
export async function stillThere({ resource }: LockRequest): Promise<'same' | 'moved'> {
  const { path, otherPaths = [], inode } = resource;
  if (path === undefined || inode === undefined) return 'same';
  return [path, ...otherPaths].every((one) => leadsTo(one, inode, resource.device)) ? 'same' : 'moved';
}

function leadsTo(path: string, inode: Inode, device: string | undefined): boolean {
  try {
    const stats = statSync(path, { bigint: true });
    return device === undefined
      ? sameInode(inodeOf(stats), inode)
      : stats.isBlockDevice() && deviceName(stats.rdev) === device;
  } catch {
    return false;
  }
}

function changed(a: LockRequest, b: LockRequest): boolean {
  const [x, y] = [a.resource, b.resource];
  return (
    x.identity !== y.identity ||
    a.mode !== b.mode ||
    x.path !== y.path ||
    x.device !== y.device ||
    (x.device === undefined && (x.inode?.dev !== y.inode?.dev || x.inode?.ino !== y.inode?.ino))
  );
}

/** Whether a plan that was made again under the lock asks for anything else: then the lock is not on the right things. */
export function planChanged(before: Plan, after: Plan): boolean {
  if (before.requests.length !== after.requests.length) return true;
  return before.requests.some((request, index) => {
    const other = after.requests[index];
    return other === undefined || changed(request, other);
  });
}
