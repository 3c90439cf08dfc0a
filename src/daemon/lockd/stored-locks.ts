/** Locks that came back from the service manager's store: a descriptor and an id, and the journal says what it was. */
import { fstatSync, statSync } from 'node:fs';
import { closeDescriptor } from '../../system/descriptors.js';
import { unlockAll } from '../../system/ofd-lock.js';
import type { Kept } from '../keeper/channel.js';
import type { ReadJournal } from './journal.js';
import { pathOf } from './lock-file.js';
import { readRecord } from './lock-record.js';

/**
 * Leaves out, and gives back, those without a record whose descriptor is not of what the journal has under their id: one
 * that was given back when nobody could tell the store any more, or of a file that has been replaced. What the journal
 * has is taken again then. Those with a record are from a keeper that has seen them all the time.
 */
export function onlyWhatIsTrue(
  kept: readonly Kept[],
  journal: ReadJournal | undefined,
  drop: (id: number) => void,
): readonly Kept[] {
  return kept.filter(({ id, record, descriptors }) => {
    if (record !== '') return true;
    const written = journal?.held.get(id)?.record;
    if (written !== undefined && descriptors.every((fd) => isOf(fd, written))) return true;
    drop(id);
    for (const fd of descriptors) {
      // The store still has a duplicate.
      unlockAll(fd);
      closeDescriptor(fd);
    }
    return false;
  });
}

function isOf(fd: number, record: string): boolean {
  const said = readRecord(record);
  // Another build's: whatever it is, it stays locked.
  if (said === undefined) return true;
  if (!('lock' in said)) return false;
  try {
    const named = statSync(pathOf(said.lock.lockspace, said.lock.name), { bigint: true });
    const own = fstatSync(fd, { bigint: true });
    return named.dev === own.dev && named.ino === own.ino;
  } catch {
    // Nothing has that name any more.
    return false;
  }
}
