/** The holds of this host, from the records: only those that are really locked. */
import type { Driver } from '../driver/contract.js';
import { isHoldfastError } from '../errors.js';
import { describeProcess } from '../holders/find-holders.js';
import { stillThere } from '../plan/make-plan.js';
import type { LockRequest, Owner } from '../vocabulary.js';
import type { LiveRecord } from './hold-record.js';
import { recordKeepers } from './record-keepers.js';

export interface ListedProcess {
  readonly pid: number;
  readonly program: string;
}

/** A hold as `list` shows it. */
export interface ListedHold {
  readonly id: string;
  readonly owner: Owner;
  readonly command?: readonly string[];
  readonly since: string;
  readonly drivers: readonly string[];
  /** What is locked at this moment. */
  readonly resources: readonly {
    readonly label: string;
    readonly identity: string;
    readonly mode: string;
    readonly token?: string;
  }[];
  /** The processes that keep it: more than one if the command passed it on. */
  readonly processes: readonly ListedProcess[];
}

/**
 * The holds behind `records`. A resource is listed if one of the record's drivers still finds it locked; of a
 * driver that is not installed here, or whose engine does not answer, the record's own lock is all there is to believe.
 */
export async function listHolds(
  records: readonly LiveRecord[],
  driverOf: (name: string) => Promise<Driver | undefined>,
): Promise<ListedHold[]> {
  const keepers = await recordKeepers(records);
  const listed: ListedHold[] = [];
  for (const { record, path } of records) {
    const { id, owner, command, since, drivers, requests, tokens } = record;
    const found = await Promise.all(drivers.map(driverOf));
    const locked: LockRequest[] = [];
    for (const request of requests) {
      if (await isLocked(request, found)) locked.push(request);
    }
    if (locked.length === 0 && requests.length > 0) continue;
    listed.push({
      id,
      owner,
      ...(command === undefined ? {} : { command }),
      since,
      drivers,
      resources: locked.map(({ resource: { label, identity }, mode }) => ({
        label,
        identity,
        mode,
        ...(tokens[identity] === undefined ? {} : { token: tokens[identity] }),
      })),
      processes: (keepers.get(path) ?? []).map((pid) => ({
        pid,
        program: describeProcess(pid)?.program ?? '?',
      })),
    });
  }
  return listed.toSorted((a, b) => a.since.localeCompare(b.since) || a.id.localeCompare(b.id));
}

async function isLocked(request: LockRequest, drivers: readonly (Driver | undefined)[]): Promise<boolean> {
  // Renamed or removed while it is held: the driver cannot find it by its path, and the record's lock has to do.
  if ((await stillThere(request)) === 'moved') return true;
  for (const driver of drivers) {
    if (driver === undefined || (await findsHolder(driver, request))) return true;
  }
  return false;
}

/** An engine that does not answer says nothing against the record. */
async function findsHolder(driver: Driver, { resource }: LockRequest): Promise<boolean> {
  try {
    return (await driver.holders(resource)).length > 0;
  } catch (error) {
    if (isHoldfastError(error, 'DRIVER_FAILED')) return true;
    throw error;
  }
}
