/** Which processes keep a hold: those that have its record open with the lock on it. */
import { findOpenFiles } from '../system/open-files.js';
import type { LiveRecord } from './hold-record.js';

/** By the path of the record: pids in ascending order. Those of other users are seen only by root. */
export async function recordKeepers(
  records: readonly LiveRecord[],
): Promise<ReadonlyMap<string, readonly number[]>> {
  const keepers = new Map<string, number[]>();
  if (records.length === 0) return keepers;
  const targets = records.map(({ path, inode }) => ({ kind: 'inode' as const, path, inode }));
  const { files } = await findOpenFiles(targets);
  // Who only reads a record has no lock on it.
  for (const { target, pid, locks } of files) {
    if (locks.length === 0) continue;
    const pids = keepers.get(target.path) ?? [];
    if (!pids.includes(pid))
      keepers.set(
        target.path,
        [...pids, pid].toSorted((a, b) => a - b),
      );
  }
  return keepers;
}
