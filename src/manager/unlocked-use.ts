/** Uses that no lock driver can see, and what those who take no lock should know. */
import { findHolders, findUnlockedUse } from '../holders/find-holders.js';
import { unseenWriters } from '../holders/unseen-writers.js';
import type { Holder, LockRequest, PlanItem, Resource } from '../vocabulary.js';

const isWriting = ({ mode, resource }: LockRequest): boolean =>
  (mode === 'exclusive' || mode === 'shared') && resource.path !== undefined;

/** By identity: who uses without a lock what is asked for to be written. Under a `read` such a use is only shown. */
export async function unlockedUses(requests: readonly LockRequest[]): Promise<Map<string, Holder[]>> {
  const written = requests.filter(isWriting);
  return written.length === 0 ? new Map() : findUnlockedUse(written.map(({ resource }) => resource));
}

/** Notes on what is asked for to be written, and of which nobody can tell whether someone writes it without a lock. */
export function unseenNotes(requests: readonly LockRequest[]): readonly string[] {
  return unseenWriters(requests.filter(isWriting).map(({ resource }) => resource)).map(
    ({ label }) =>
      `${label}: whether a program of another user writes it without a lock cannot be seen from here (root sees it)`,
  );
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
