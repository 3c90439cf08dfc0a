/** What the check before locking cannot see: writers of other users, where the kernel does not tell of them either. */
import { sameUserOnly } from '../system/other-users.js';
import type { Resource } from '../vocabulary.js';
import { isWritten } from './is-written.js';

/**
 * Those of the resources of which nobody can say whether a program of another user writes them without a lock. An
 * ordinary user sees the descriptors of his own programs alone; the kernel answers (file-lease.ts) whoever owns the
 * file. Does not throw.
 */
export function unseenWriters(resources: readonly Resource[]): readonly Resource[] {
  const files = resources.filter(({ storage }) => storage === 'file' || storage === 'block');
  if (files.length === 0 || !sameUserOnly()) return [];
  return files.filter((resource) => isWritten(resource) === undefined);
}
