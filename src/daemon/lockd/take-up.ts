/**
 * What was held before this daemon started. What the keeper has is locked all the time. What a sound journal says on
 * top of it was lost by the keeper, and is locked again if its owner still lives.
 */
import { closeDescriptor } from '../../system/descriptors.js';
import type { Channel, Kept } from '../keeper/channel.js';
import type { JournalRecord, ReadJournal } from './journal.js';
import { giveLockFileBack, isStillAt, lockBytes, pathOf, takeLockFile } from './lock-file.js';
import { inNoJournal, uncommitted, type LockKeeping } from './lock-keeping.js';
import { RecordReader, type RecordedLock } from './lock-record.js';
import type { Lock, LockTable, LockdOwner } from './lock-table.js';

/** What a daemon found when it started. */
export interface TakenUp {
  /** Kept all the time. */
  readonly adopted: number;
  /** Locked again, because nobody was left to keep it. */
  readonly takenAgain: number;
  /** Records of what somebody else has now, or what is not there any more. */
  readonly lost: readonly string[];
  /** Records that another build wrote: what they say is locked until a build that can read them gives it back. */
  readonly notUnderstood: readonly string[];
}

export interface TakeUpOptions {
  readonly table: LockTable;
  readonly channel: Channel;
  readonly keeping: LockKeeping;
  readonly kept: readonly Kept[];
  readonly journal: ReadJournal | undefined;
  readonly lives: (owner: LockdOwner) => boolean;
}

const nobody: readonly LockdOwner[] = [];

export function takeUp(options: TakeUpOptions): TakenUp {
  const { keeping, kept, journal } = options;
  const lost: string[] = [];
  const notUnderstood: string[] = [];
  let adopted = 0;
  const reader = new RecordReader();
  for (const one of kept) {
    keeping.useNoIdUpTo(one.id);
    const outcome = adopt(one, options, reader);
    if (outcome === 'adopted') adopted++;
    if (outcome === 'lost') lost.push(one.record);
    if (outcome === 'not understood') notUnderstood.push(one.record);
  }
  const known = new Set(kept.map(({ id }) => id));
  const missing = [...(journal?.held ?? [])].filter(([id]) => !known.has(id));
  for (const [id] of missing) keeping.useNoIdUpTo(id);
  let takenAgain = 0;
  for (const [id, entry] of missing) {
    const outcome = takeAgain(id, entry, options, reader);
    if (outcome === 'taken') takenAgain++;
    if (outcome === 'lost') lost.push(entry.record);
  }
  keeping.tellKeeper();
  return { adopted, takenAgain, lost, notUnderstood };
}

function adopt(
  { id, record, descriptors }: Kept,
  { table, channel, keeping, journal }: TakeUpOptions,
  reader: RecordReader,
): 'adopted' | 'given back' | 'lost' | 'not understood' {
  const [fd] = descriptors;
  // One entry that is not whole is the one that was being written.
  const isSound = journal !== undefined && journal.damaged <= 1;
  const written = isSound ? journal.held.get(id) : undefined;
  const said = reader.read(written?.record ?? record);
  if (said === undefined && (written !== undefined || !isSound)) {
    keeping.leave({ id, record: written?.record ?? record, descriptors });
    return 'not understood';
  }
  if (said !== undefined && 'madeLockspace' in said) {
    table.addLockspace(said.madeLockspace);
    keeping.adoptLockspace(said.madeLockspace, id);
    return 'given back';
  }
  const locked = fd !== undefined && said !== undefined && lockBytes(fd, said.lock.shared);
  if (locked && (written !== undefined || !isSound) && isNew(said.lock, table)) {
    const { owners } = said.lock;
    const doubtful = written === undefined ? owners : written.unanswered ? owners.slice(-1) : nobody;
    table.add({ ...said.lock, id, fd, doubtful, survived: true, entry: inNoJournal });
    if (written !== undefined && written.record !== record) channel.updateLater(id, written.record);
    return 'adopted';
  }
  keeping.drop(id);
  if (locked) {
    const { lockspace, name, shared, autocreated } = said.lock;
    const path = pathOf(lockspace, name);
    giveLockFileBack(fd, path, shared, autocreated && isOwnStill(fd, path));
  } else if (fd !== undefined) closeDescriptor(fd);
  return isSound && written === undefined ? 'given back' : 'lost';
}

function takeAgain(
  id: number,
  { record, unanswered }: JournalRecord,
  { table, keeping, lives }: TakeUpOptions,
  reader: RecordReader,
): 'taken' | 'not wanted' | 'lost' {
  const said = reader.read(record);
  if (said === undefined) return 'lost';
  if ('madeLockspace' in said) {
    table.addLockspace(said.madeLockspace);
    keeping.addLockspace(said.madeLockspace);
    return 'not wanted';
  }
  const { lockspace, name, shared, autocreated } = said.lock;
  const owners = said.lock.owners.filter(lives);
  if (owners.length === 0 || !isNew(said.lock, table)) return 'not wanted';
  const path = pathOf(lockspace, name);
  const fd = takeLockFile({ path, shared, autocreate: autocreated, inLockspace: lockspace !== '' });
  if (typeof fd !== 'number') return 'lost';
  const doubtful = unanswered ? owners.slice(-1) : nobody;
  // Its id stays: should this daemon end before its own journal is there, the one that is there says the same.
  const lock: Lock = { ...said.lock, owners, id, fd, doubtful, survived: true, entry: uncommitted };
  table.add(lock);
  keeping.keep(lock);
  return 'taken';
}

function isNew({ lockspace, name }: RecordedLock, table: LockTable): boolean {
  return table.get(lockspace, name) === undefined;
}

/** What was removed already may be another's file by now. */
function isOwnStill(fd: number, path: string): boolean {
  try {
    return isStillAt(fd, path);
  } catch {
    return false;
  }
}
