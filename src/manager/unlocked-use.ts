/** Uses that no lock driver can see: mounts, swap, writers that never asked for a lock. */
import { findUnlockedUse } from '../holders/find-holders.js';
import type { Holder, LockRequest } from '../vocabulary.js';

/** By identity: who uses what is asked for to be written. Readers are only shown, not refused. */
export async function unlockedUses(requests: readonly LockRequest[]): Promise<Map<string, Holder[]>> {
  const written = requests.filter(
    ({ mode, resource }) => (mode === 'exclusive' || mode === 'shared') && resource.path !== undefined,
  );
  return written.length === 0 ? new Map() : findUnlockedUse(written.map(({ resource }) => resource));
}
