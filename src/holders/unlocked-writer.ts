/** Whether who writes a resource is met by a lock driver. */
import type { KernelTables } from '../system/kernel-uses.js';
import type { Resource } from '../vocabulary.js';
import { hasAnyLock, locksAreSeen } from './fuse-locks.js';
import { coveredBy } from './lock-cover.js';
import { isWriting } from './process-use.js';
import type { ProcessUse } from './process-use.js';

/**
 * Whether someone writes without a lock that anyone would meet; undefined: that does not show on this file system.
 * A writer above, of a partition for instance, is never met by a lock on what is below: its own lock counts for nothing.
 */
export function isUnlocked(
  use: ProcessUse,
  all: readonly ProcessUse[],
  resource: Resource,
  tables: KernelTables,
): boolean | undefined {
  if (!use.writes) return locksMayHide(resource, tables) ? undefined : false;
  if (use.files.some((file) => file.target.relation === 'above' && isWriting(file))) return true;
  if (use.locked || coveredBy(use, all) !== undefined) return false;
  return locksMayHide(resource, tables) ? undefined : true;
}

/** Someone has a lock, and the kernel does not say who. */
function locksMayHide(resource: Resource, tables: KernelTables): boolean {
  return !locksAreSeen(resource, tables) && hasAnyLock(resource);
}
