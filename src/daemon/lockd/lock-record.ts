/**
 * A lock or a lockspace as it stands in the keeper and in the journal: JSON, short, because it is kept twice for each
 * lock. Positions are never given another meaning; new ones come at the end.
 *
 *     [1, LOCKSPACE, NAME, FLAGS, SINCE, [[UUID, GUEST, ID, PID, START], ...]]
 *     [1, LOCKSPACE]      somebody made it: libvirt makes its own only when it starts, so they outlive the daemon as well
 *
 * FLAGS are those of ACQUIRE_RESOURCE: 1 shared, 2 autocreate.
 */
import { acquireFlag } from '../../protocol/lock-protocol.js';
import type { LockdOwner, Lock } from './lock-table.js';

const version = 1;

/** What a record says of a lock. */
export type RecordedLock = Pick<Lock, 'lockspace' | 'name' | 'shared' | 'autocreated' | 'since' | 'owners'>;

export type Recorded = { readonly lock: RecordedLock } | { readonly madeLockspace: string };

/** Owners are few and lock often. */
const ownerTexts = new WeakMap<LockdOwner, string>();

export function writeLockRecord(lock: RecordedLock): string {
  const { lockspace, name, shared, autocreated, since, owners } = lock;
  const flags = (shared ? acquireFlag.shared : 0) | (autocreated ? acquireFlag.autocreate : 0);
  const [first] = owners;
  const all = owners.length === 1 && first !== undefined ? ownerText(first) : owners.map(ownerText).join();
  return `[${version},${JSON.stringify(lockspace)},${JSON.stringify(name)},${flags},"${since}",[${all}]]`;
}

export function writeLockspaceRecord(path: string): string {
  return JSON.stringify([version, path]);
}

function ownerText(owner: LockdOwner): string {
  const known = ownerTexts.get(owner);
  if (known !== undefined) return known;
  const { uuid, name, id, pid, startTime } = owner;
  const text = JSON.stringify([uuid, name, id, pid, startTime]);
  ownerTexts.set(owner, text);
  return text;
}

/** Reads many records, of which many have the same owners: each of them, and each text, is there once. */
export class RecordReader {
  readonly #texts = new Map<string, string>();
  readonly #owners = new Map<string, LockdOwner>();

  /** As `readRecord`. */
  read(text: string): Recorded | undefined {
    const recorded = readRecord(text);
    if (recorded === undefined || !('lock' in recorded)) return recorded;
    const { lock } = recorded;
    const lockspace = this.#text(lock.lockspace);
    const since = this.#text(lock.since);
    return { lock: { ...lock, lockspace, since, owners: lock.owners.map((owner) => this.#owner(owner)) } };
  }

  #text(text: string): string {
    const known = this.#texts.get(text);
    if (known === undefined) this.#texts.set(text, text);
    return known ?? text;
  }

  #owner(owner: LockdOwner): LockdOwner {
    const text = JSON.stringify(owner);
    const known = this.#owners.get(text);
    if (known === undefined) this.#owners.set(text, owner);
    return known ?? owner;
  }
}

/** Written by a daemon of this or another version; undefined: not of this form. */
export function readRecord(text: string): Recorded | undefined {
  let said: unknown;
  try {
    said = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(said)) return undefined;
  const [written, lockspace, name, flags, since, owners] = said as unknown[];
  if (written !== version || typeof lockspace !== 'string') return undefined;
  if (name === undefined) return { madeLockspace: lockspace };
  if (typeof name !== 'string' || typeof flags !== 'number' || typeof since !== 'string') return undefined;
  if (!Array.isArray(owners) || owners.length === 0) return undefined;
  const read = (owners as unknown[]).map(readOwner);
  if (read.some((owner) => owner === undefined)) return undefined;
  return {
    lock: {
      lockspace,
      name,
      shared: (flags & acquireFlag.shared) !== 0,
      autocreated: (flags & acquireFlag.autocreate) !== 0,
      since,
      owners: read as LockdOwner[],
    },
  };
}

function readOwner(said: unknown): LockdOwner | undefined {
  if (!Array.isArray(said)) return undefined;
  const [uuid, name, id, pid, startTime] = said as unknown[];
  return typeof uuid === 'string' &&
    typeof name === 'string' &&
    isCount(id) &&
    isCount(pid) &&
    isCount(startTime)
    ? { uuid, name, id, pid, startTime }
    : undefined;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value);
}
