/**
 * The record of a hold: who, what, since when, by which drivers.
 *
 * Invariant: a record is believed only while its own file is locked. The descriptor of that lock goes to the
 * command along with the locks themselves, so it is there as long as any process keeps them, whatever became
 * of the process that wrote the record. It is removed only under a write lock of the remover's; who writes one
 * looks after locking it whether it is still there.
 */
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readSync,
  readdirSync,
  unlinkSync,
  writeSync,
  ftruncateSync,
} from 'node:fs';
import { join } from 'node:path';
import { testLock, tryLock } from '../system/ofd-lock.js';
import { causeText, HoldfastError } from '../errors.js';
import { inodeOf } from '../system/inode.js';
import { pauseThread } from '../system/clock.js';
import { randomHex } from '../system/random.js';
import type { Inode, LockRequest, Owner } from '../vocabulary.js';
import type { HoldContents } from './hold.js';

/** What the file says. Fields are added, never changed; a reader ignores those it does not know. */
export interface HoldRecord {
  readonly version: 1;
  readonly id: string;
  readonly owner: Owner;
  /** The command and its arguments, where there is one. */
  readonly command?: readonly string[];
  /** ISO 8601, UTC. */
  readonly since: string;
  readonly drivers: readonly string[];
  readonly requests: readonly LockRequest[];
  /** What it will ask for again: its guest is paused, and `requests` is empty. */
  readonly suspended?: readonly LockRequest[];
  /** Fencing tokens by identity. */
  readonly tokens: Readonly<Record<string, string>>;
  /** Who keeps it alive is not the owner: a daemon keeps the locks. */
  readonly keptForOwner?: true;
}

/** A record on disk whose lock this process has. */
export interface WrittenRecord {
  readonly id: string;
  readonly path: string;
  /** Keeps the record alive for whoever inherits it. */
  readonly fd: number;
}

/** A record that some process keeps alive. */
export interface LiveRecord {
  readonly record: HoldRecord;
  readonly path: string;
  readonly inode: Inode;
}

const { O_RDWR, O_RDONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;
const suffix = '.json';

/** More than the one that each start can leave behind. */
const someRecords = 4;
/** So many are left alone at a start: they harm nobody, and to look at one, remove it and tidy after it costs 1 ms. */
export const fewRecords = 8;

/** 4,096 disks with long paths are some 4 MiB; more is no record of ours. */
const recordBytesMax = 64 * 1024 * 1024;

/** Each round means that somebody took the new file for a dead one in the moment before it was locked. */
const writeRoundsMax = 1_000;

/** What a tidier needs to remove a file that it has locked. */
const tidyingMs = 1;

export function newHoldId(): string {
  return randomHex(6);
}

/** What the record of a hold says. */
export function recordOf(
  { id, owner, since, plan, held }: Omit<HoldContents, 'recordDescriptor'>,
  command: readonly string[] | undefined,
): HoldRecord {
  return {
    version: 1,
    id,
    owner,
    ...(command === undefined ? {} : { command }),
    since,
    drivers: held.map(({ about }) => about.name).filter((name, index, all) => all.indexOf(name) === index),
    requests: plan.requests,
    tokens: Object.assign({}, ...held.map(({ grant }) => grant.tokens)) as Record<string, string>,
    ...(owner.pid === process.pid ? {} : { keptForOwner: true }),
  };
}

/** Writes a record into `directory`, which exists. Throws `NO_RECORD`. */
export function writeRecord(directory: string, record: HoldRecord): WrittenRecord {
  const path = join(directory, record.id + suffix);
  for (let round = 1; ; round++) {
    const fd = openNew(path);
    if (fd !== undefined) {
      try {
        // Until it is locked it looks like that of a dead process, and may be tidied away.
        if (tryLock(fd, 'write', 0) && fstatSync(fd).nlink > 0) {
          writeWhole(fd, record);
          return { id: record.id, path, fd };
        }
        closeSync(fd);
      } catch (error) {
        closeSync(fd);
        removeQuietly(path);
        throw unwritten(path, error);
      }
    }
    if (round === writeRoundsMax) throw unwritten(path, `it was removed ${round} times meanwhile`);
    pauseThread(tidyingMs);
  }
}

/** Undefined: the last round's file is there still, because somebody is just about to remove it. */
function openNew(path: string): number | undefined {
  try {
    return openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return undefined;
    throw unwritten(path, error);
  }
}

/**
 * Takes up the record of a hold that is adopted: the one whose descriptor was kept, if it still has its name, else a new
 * one in its place. Throws `NO_RECORD`; then the descriptor is the caller's still.
 */
export function adoptRecord(directory: string, record: HoldRecord, fd: number | undefined): WrittenRecord {
  const path = join(directory, record.id + suffix);
  if (fd === undefined || !leadsTo(path, fd)) {
    removeIfDead(path);
    const written = writeRecord(directory, record);
    if (fd !== undefined) closeSync(fd);
    return written;
  }
  const written = { id: record.id, path, fd };
  rewriteRecord(written, record);
  return written;
}

/** Replaces what a record says, in place: its lock is on this file. Throws `NO_RECORD`. */
export function rewriteRecord({ fd, path }: WrittenRecord, record: HoldRecord): void {
  try {
    ftruncateSync(fd, writeWhole(fd, record));
  } catch (error) {
    throw unwritten(path, error);
  }
}

function unwritten(path: string, cause: unknown): HoldfastError {
  const message = `the record of the hold cannot be written to ${path}: ${causeText(cause)}`;
  return new HoldfastError('NO_RECORD', message, { cause });
}

/** Gives the number of bytes. */
function writeWhole(fd: number, record: HoldRecord): number {
  const text = Buffer.from(JSON.stringify(record));
  for (let done = 0; done < text.length;) done += writeSync(fd, text, done, text.length - done, done);
  return text.length;
}

/** Lets go of a record. `shared`: a child may have inherited its descriptor, and then keeps it alive. */
export function leaveRecord({ fd, path }: WrittenRecord, shared: boolean): void {
  if (!shared) removeQuietly(path);
  closeSync(fd);
  if (shared) removeIfDead(path);
}

/** All records that some process keeps alive; dead ones are removed and given to `died`. */
export function readLiveRecords(directory: string, died?: (record: HoldRecord) => void): LiveRecord[] {
  const names = namesIn(directory);
  return names.flatMap((name) => {
    const path = join(directory, name);
    const live = name.endsWith(suffix) ? readIfLive(path) : undefined;
    if (live !== undefined) return [live];
    const dead = removeIfDead(path);
    if (dead !== undefined) died?.(dead);
    return [];
  });
}

/**
 * Looks at some records if there are more than a few, and removes and gives those of holds that died. A command that
 * took its locks along leaves its record behind; whoever starts the next ones looks at more than that one left, so they
 * never pile up.
 */
export function removeSomeDead(directory: string): HoldRecord[] {
  const names = namesIn(directory);
  if (names.length <= fewRecords) return [];
  const first = Math.floor(Math.random() * names.length);
  const some = [...names.slice(first), ...names.slice(0, first)].slice(0, someRecords);
  return some.flatMap((name) => removeIfDead(join(directory, name)) ?? []);
}

/** The paths of records that nobody keeps alive, left as they are. Throws `NOT_PERMITTED`. */
export function findDeadRecords(directory: string): string[] {
  return namesIn(directory)
    .filter((name) => name.endsWith(suffix))
    .map((name) => join(directory, name))
    .filter((path) => withFile(path, O_RDONLY, (fd) => testLock(fd, 'write', 0) === undefined) === true);
}

/** Nothing, if nobody ever held anything here. Throws `NOT_PERMITTED`: what is not seen must not be taken for free. */
function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new HoldfastError(
      'NOT_PERMITTED',
      `the records in ${directory} cannot be read: ${causeText(cause)}`,
      {
        cause,
        remedy: 'Run as the user whose holds they are, or name another directory with HOLDFAST_RUNTIME_DIR.',
      },
    );
  }
}

function readIfLive(path: string): LiveRecord | undefined {
  return withFile(path, O_RDONLY, (fd) => {
    if (testLock(fd, 'write', 0) === undefined) return undefined;
    const record = parseRecord(fd);
    return record === undefined
      ? undefined
      : { record, path, inode: inodeOf(fstatSync(fd, { bigint: true })) };
  });
}

/** Removes a record that nobody keeps alive, and tells what it said. */
function removeIfDead(path: string): HoldRecord | undefined {
  return withFile(path, O_RDWR, (fd) => {
    if (!tryLock(fd, 'write', 0)) return undefined;
    if (!leadsTo(path, fd)) return undefined;
    unlinkSync(path);
    return parseRecord(fd);
  });
}

function leadsTo(path: string, fd: number): boolean {
  const named = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  const open = fstatSync(fd, { bigint: true });
  return named?.ino === open.ino && named.dev === open.dev;
}

function withFile<Result>(path: string, flags: number, use: (fd: number) => Result): Result | undefined {
  let fd: number;
  try {
    fd = openSync(path, flags | O_NOFOLLOW | O_NONBLOCK);
  } catch {
    return undefined; // Removed meanwhile, or another user's.
  }
  try {
    return fstatSync(fd).isFile() ? use(fd) : undefined;
  } finally {
    closeSync(fd);
  }
}

/** A record that is being rewritten can be torn; a few looks later it is whole. */
const parseRoundsMax = 5;

function parseRecord(fd: number): HoldRecord | undefined {
  for (let round = 0; round < parseRoundsMax; round++) {
    const size = Math.min(fstatSync(fd).size, recordBytesMax);
    const text = Buffer.alloc(size);
    readSync(fd, text, 0, size, 0);
    try {
      const value = JSON.parse(text.toString('utf8')) as HoldRecord;
      return value.version === 1 && Array.isArray(value.requests) ? value : undefined;
    } catch {
      continue;
    }
  }
  return undefined;
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Removed by who tidied it.
  }
}
