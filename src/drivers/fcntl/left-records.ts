/**
 * The records that holders leave on a file that hosts share: extended attributes of the inode that they have locked.
 *
 * Invariant: a record is believed only while its own byte is locked, its witness. The byte is in the attribute's name,
 * random and far behind the end of any image; the holder read-locks it, through the descriptor of its other
 * locks, before it writes the attribute. So a record lives exactly as long as the lock that it tells of, whoever
 * inherited that, and needs no clock: what a dead holder left is never taken for the word of the next one, who may be
 * virtlockd and leave none, nor is a copy of the image for the image. Whoever finds a record without its witness may remove it; nobody
 * ever writes that name again.
 *
 * Not guaranteed: where the server takes locks away without telling (an expired NFS lease, a brick of GlusterFS that was
 * restarted) the record is without its witness too, and its holder is no longer named.
 */
import { bootId } from '../../system/host.js';
import { testLock, tryLock } from '../../system/ofd-lock.js';
import { randomHex } from '../../system/random.js';
import { attributeNames, createAttribute, readAttribute, removeAttribute } from '../../system/xattr.js';
import type { Mode, Owner } from '../../vocabulary.js';
import { formatRecord, parseRecord, recordBytesMax, type HolderRecord } from './holder-record.js';

/** A record whose holder is there. */
export interface LivingRecord extends HolderRecord {
  readonly attribute: string;
}

const prefix = 'user.holdfast.';
const namePattern = /^user\.holdfast\.[0-9a-f]{12}$/;

/**
 * Witnesses are the bytes from here on, 48 bits of them: no image reaches them (4 PiB), and all of them are numbers that
 * JavaScript counts exactly.
 */
const firstWitness = 2 ** 52;
const witnessRandomBytes = 6;

/** Each costs two calls to a server. Holders of one image are few, and the next one removes what dead ones left. */
const recordsMax = 64;

/**
 * Leaves the record of `owner`, who holds `mode` through this descriptor, and removes those of dead holders. Where the
 * file system has no attributes, has no room left for one, or this user may not write any, nothing is left: then
 * others learn that it is held, and not by whom. Gives the attribute's name.
 */
export function leaveRecord(fd: number, owner: Owner, mode: Mode, path: string): string | undefined {
  return courteously(() => {
    // Before the own one is there: to its own descriptor a lock looks as if it was free.
    removeDeadRecords(fd);
    const id = randomHex(witnessRandomBytes);
    const name = prefix + id;
    if (!tryLock(fd, 'read', witnessOf(name))) return undefined;
    createAttribute(fd, name, formatRecord(recordOf(owner, mode, path)));
    return name;
  });
}

/** Of holders that are there, as they say it; asked with a descriptor that is none of theirs. */
export function readLivingRecords(fd: number): readonly LivingRecord[] {
  const living: LivingRecord[] = [];
  courteously(() => {
    for (const attribute of recordNames(fd)) {
      const bytes = readAttribute(fd, attribute, recordBytesMax);
      const record = bytes === undefined ? undefined : parseRecord(bytes);
      // Read first: a name is never written twice, so what was read is the word of whoever has the witness now.
      if (record !== undefined && isWitnessed(fd, attribute)) living.push({ ...record, attribute });
    }
  });
  return living;
}

/** Removes what holders left that are gone. */
export function removeDeadRecords(fd: number): void {
  courteously(() => {
    for (const name of recordNames(fd)) if (!isWitnessed(fd, name)) removeAttribute(fd, name);
  });
}

/** Removes what one owner left, though his locks are there still. */
export function removeRecordsOf(fd: number, { uuid, pid, startTime }: Owner): void {
  courteously(() => {
    for (const record of readLivingRecords(fd)) {
      const isHis = record.uuid === uuid && record.pid === pid && record.startTime === startTime;
      if (isHis) removeAttribute(fd, record.attribute);
    }
  });
}

/** Removes one record if its holder is gone; false: somebody has its locks still. */
export function removeIfDead(fd: number, name: string): boolean {
  const dead = courteously(() => {
    if (isWitnessed(fd, name)) return false;
    removeAttribute(fd, name);
    return true;
  });
  return dead ?? true;
}

function recordOf(
  { host, hostId, kind, name, uuid, pid, startTime }: Owner,
  mode: Mode,
  path: string,
): HolderRecord {
  const since = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  return { version: 1, host, hostId, bootId: bootId(), kind, name, uuid, pid, startTime, mode, since, path };
}

function recordNames(fd: number): readonly string[] {
  return attributeNames(fd)
    .filter((name) => namePattern.test(name))
    .slice(0, recordsMax);
}

const witnessOf = (name: string): number => firstWitness + Number.parseInt(name.slice(prefix.length), 16);

/** A lock on a longer range, of a program that locks whole files, is nobody's witness. */
function isWitnessed(fd: number, name: string): boolean {
  const start = witnessOf(name);
  const found = testLock(fd, 'write', start);
  return found?.start === start && found.length === 1;
}

/** A record is a courtesy to others: what the system refuses here spoils neither a lock nor a look. */
function courteously<Result>(work: () => Result): Result | undefined {
  try {
    return work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    return undefined;
  }
}
