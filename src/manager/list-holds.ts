/** The holds of this host, from the records: only those that are really locked. */
import type { Driver } from '../driver/contract.js';
import { describeProcess } from '../holders/find-holders.js';
import { findOpenFiles } from '../system/open-files.js';
import type { Holder, Owner, Resource } from '../vocabulary.js';
import type { LiveRecord } from './hold-record.js';

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
 * driver that is not installed here, the record's own lock is all there is to believe.
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
    const locked: (typeof requests)[number][] = [];
    for (const request of requests) {
      if (await isLocked(request.resource, found)) locked.push(request);
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
      processes: keepers.get(path) ?? [],
    });
  }
  return listed.toSorted((a, b) => a.since.localeCompare(b.since) || a.id.localeCompare(b.id));
}

async function isLocked(resource: Resource, drivers: readonly (Driver | undefined)[]): Promise<boolean> {
  for (const driver of drivers) {
    if (driver === undefined || (await driver.holders(resource)).length > 0) return true;
  }
  return false;
}

/** By the path of the record: the processes that have it open, which are those that keep the hold. */
async function recordKeepers(records: readonly LiveRecord[]): Promise<Map<string, ListedProcess[]>> {
  const keepers = new Map<string, ListedProcess[]>();
  if (records.length === 0) return keepers;
  const targets = records.map(({ path, inode }) => ({ kind: 'inode' as const, path, inode }));
  const { files } = await findOpenFiles(targets);
  // Who only reads a record has no lock on it.
  for (const { target, pid } of files.filter(({ locks }) => locks.length > 0)) {
    const list = keepers.get(target.path) ?? [];
    if (!list.some((known) => known.pid === pid))
      list.push({ pid, program: describeProcess(pid)?.program ?? '?' });
    keepers.set(target.path, list);
  }
  return keepers;
}

/** The holders of a resource that records tell of, one for each process that keeps the hold. */
export async function recordHolders(
  resource: Resource,
  records: readonly LiveRecord[],
): Promise<readonly Holder[]> {
  const about = records.flatMap((live) => {
    const request = live.record.requests.find(
      (candidate) => candidate.resource.identity === resource.identity,
    );
    return request === undefined ? [] : [{ ...live, mode: request.mode }];
  });
  const keepers = await recordKeepers(about);
  return about.flatMap(({ record, path, mode }) => {
    const { owner, since, drivers } = record;
    const holder: Holder = {
      ...(owner.kind === 'domain' ? { guest: owner.name, uuid: owner.uuid } : {}),
      host: 'this host',
      since,
      mode,
      through: [`Holdfast (${drivers.join(', ')})`],
      evidence: [`record ${path}`],
    };
    const processes = keepers.get(path) ?? [];
    return processes.length === 0
      ? [holder]
      : processes.map(({ pid, program }) => ({ ...holder, pid, program }));
  });
}
