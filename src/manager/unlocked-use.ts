/** Uses that no lock driver can see, and what those who take no lock should know. */
import { findHolders, findUnlockedUse } from '../holders/find-holders.js';
import type { Holder, LockRequest, PlanItem, Resource } from '../vocabulary.js';

/** By identity: who uses without a lock what is asked for to be written. Under a `read` such a use is only shown. */
export async function unlockedUses(requests: readonly LockRequest[]): Promise<Map<string, Holder[]>> {
  const written = requests.filter(
    ({ mode, resource }) => (mode === 'exclusive' || mode === 'shared') && resource.path !== undefined,
  );
  return written.length === 0 ? new Map() : findUnlockedUse(written.map(({ resource }) => resource));
}

/** Warnings for what is only looked at, or read: someone writes to it, so what is read may not fit together. */
export async function writerNotes(items: readonly PlanItem[]): Promise<readonly string[]> {
  const looked = items.flatMap(({ mode, resource }) => (resource === undefined ? [] : [{ mode, resource }]));
  const read = looked.filter(({ mode, resource }) => mode === 'read' && resource.path !== undefined);
  // One walk over /proc for all of them.
  const unlocked = await findUnlockedUse(read.map(({ resource }) => resource));
  const notes = read.flatMap(({ resource }) => writersOf(resource, unlocked.get(resource.identity) ?? []));
  for (const { mode, resource } of looked) {
    if (mode !== 'peek') continue;
    const { holders } = await findHolders(resource);
    notes.push(
      ...writersOf(
        resource,
        holders.filter((holder) => holder.mode !== 'read'),
      ),
    );
  }
  return notes;
}

function writersOf({ label }: Resource, writers: readonly Holder[]): string[] {
  return writers.map(({ guest, program, pid, through }) => {
    const who = guest === undefined ? (program ?? 'someone') : `guest "${guest}"`;
    const process = pid === undefined ? '' : ` (pid ${pid})`;
    return `${label} is in use by ${who}${process}, ${through.join(', ')}: what is read may not fit together`;
  });
}
