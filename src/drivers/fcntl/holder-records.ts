/**
 * Records on the files of requests: left when they are locked, taken back when they are given back, read when somebody
 * else is in the way. Only files that hosts share have any; loaded when the first of them is met.
 */
import type { Holder, LockRequest, Owner, Resource } from '../../vocabulary.js';
import {
  leaveRecord,
  readLivingRecords,
  removeDeadRecords,
  removeIfDead,
  removeRecordsOf,
} from './left-records.js';
import { inspect } from './lock-holders.js';
import { isShared, type LockTarget } from './lock-targets.js';
import { recordedHolder } from './recorded-holder.js';
import type { TakenRequest } from './take-request.js';

/** A record of this process, and where it stands. */
export interface LeftRecord {
  readonly target: LockTarget;
  readonly attribute: string;
}

/**
 * A file system in user space gives locks back a moment after the close. Whoever inherited the descriptors keeps the
 * record with the locks: then it stays.
 */
const takeBackRoundsMax = 5;
const takeBackPauseMs = 2;

/** For locks that were all taken. */
export function leaveRecords({ request, shared }: TakenRequest, owner: Owner): readonly LeftRecord[] {
  return shared.flatMap(({ fd, target }) => {
    const attribute = leaveRecord(fd, owner, request.mode, target.path);
    return attribute === undefined ? [] : [{ target, attribute }];
  });
}

/** After the descriptors were closed. */
export async function takeBackRecords(records: readonly LeftRecord[]): Promise<void> {
  for (const { target, attribute } of records) {
    for (let round = 1; inspect(target, (fd) => removeIfDead(fd, attribute)) === false; round++) {
      if (round === takeBackRoundsMax) break;
      await new Promise((resolve) => setTimeout(resolve, takeBackPauseMs));
    }
  }
}

/** Removes what an owner left on files that he has locked still. */
export function removeOwn({ shared }: TakenRequest, owner: Owner): void {
  for (const { target } of shared) inspect(target, (fd) => removeRecordsOf(fd, owner));
}

/** Removes what dead holders left on the files of a resource. */
export function removeDead(resource: Resource, targets: readonly LockTarget[]): void {
  for (const target of targets) if (isShared(resource, target)) inspect(target, removeDeadRecords);
}

/** Everyone who holds a resource and left a record of it. */
export function recordedHolders(resource: Resource, targets: readonly LockTarget[]): readonly Holder[] {
  return targets
    .filter((target) => isShared(resource, target))
    .flatMap((target) =>
      (inspect(target, readLivingRecords) ?? []).map((record) => recordedHolder(record, target.path)),
    );
}

/** Those among them that are in the way of a request. */
export function recordedInTheWay(
  { resource, mode }: LockRequest,
  targets: readonly LockTarget[],
): readonly Holder[] {
  return recordedHolders(resource, targets).filter(({ refuses }) => refuses?.includes(mode));
}
