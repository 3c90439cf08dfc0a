/** Uses that no lock driver can see, and what those who take no lock should know. */
import { isWritten } from '../holders/is-written.js';
import { unseenWriters } from '../holders/unseen-writers.js';
import type { Holder, LockRequest, PlanItem, Resource } from '../vocabulary.js';

const isWriting = ({ mode, resource }: LockRequest): boolean =>
  (mode === 'exclusive' || mode === 'shared') && resource.path !== undefined;

/** By identity: who uses without a lock what is asked for to be written. Under a `read` such a use is only shown. */
export async function unlockedUses(requests: readonly LockRequest[]): Promise<Map<string, Holder[]>> {
  return usesOf(requests.filter(isWriting).map(({ resource }) => resource));
}

/** Mostly the kernel says that nobody writes, and then nothing is loaded that looks for who it is. */
async function usesOf(resources: readonly Resource[]): Promise<Map<string, Holder[]>> {
  const doubtful = resources
    .filter(({ storage }) => storage === 'file' || storage === 'block')
    .filter((resource) => isWritten(resource) !== false);
  if (doubtful.length === 0) return new Map();
  const { findUnlockedUse } = await import('../holders/find-holders.js');
  return findUnlockedUse(doubtful);
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
  const asked = (wanted: string): Resource[] =>
    items.flatMap(({ mode, resource }) => (mode === wanted && resource !== undefined ? [resource] : []));
  const read = asked('read').filter(({ path }) => path !== undefined);
  // One walk over /proc for all of them.
  const unlocked = await usesOf(read);
  const notes = read.flatMap((resource) => writersOf(resource, unlocked.get(resource.identity) ?? []));
  for (const resource of asked('peek')) {
    const { findHolders } = await import('../holders/find-holders.js');
    const { holders } = await findHolders(resource);
    const writers = holders.filter((holder) => holder.mode !== 'read');
    notes.push(...writersOf(resource, writers));
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
