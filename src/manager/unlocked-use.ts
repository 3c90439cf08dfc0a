/** Uses that no lock driver can see, and what those who take no lock should know. */
import { findHolders, findUnlockedUse } from '../holders/find-holders.js';
import type { Holder, LockRequest, PlanItem } from '../vocabulary.js';

/** By identity: who uses without a lock what is asked for to be written. Under a `read` such a use is only shown. */
export async function unlockedUses(requests: readonly LockRequest[]): Promise<Map<string, Holder[]>> {
  const written = requests.filter(
    ({ mode, resource }) => (mode === 'exclusive' || mode === 'shared') && resource.path !== undefined,
  );
  return written.length === 0 ? new Map() : findUnlockedUse(written.map(({ resource }) => resource));
}

/** Warnings for what is only looked at, or read: someone writes to it, so what is read may not fit together. */
export async function writerNotes(items: readonly PlanItem[]): Promise<readonly string[]> {
  const notes: string[] = [];
  for (const { mode, resource } of items) {
    if (resource === undefined) continue;
    const writers =
      mode === 'peek'
        ? (await findHolders(resource)).holders.filter((holder) => holder.mode !== 'read')
        : mode === 'read' && resource.path !== undefined
          ? ((await findUnlockedUse([resource])).get(resource.identity) ?? [])
          : [];
    for (const { guest, program, pid, through } of writers) {
      const who = guest === undefined ? (program ?? 'someone') : `guest "${guest}"`;
      const process = pid === undefined ? '' : ` (pid ${pid})`;
      notes.push(
        `${resource.label} is in use by ${who}${process}, ${through.join(', ')}: what is read may not fit together`,
      );
    }
  }
  return notes;
}
