/** Takes up a hold of a process that has ended, from what was saved of it and the descriptors that somebody kept. */
import { closeSync } from 'node:fs';
import { HoldfastError } from '../errors.js';
import { withoutName } from '../plan/make-plan.js';
import type { LockRequest } from '../vocabulary.js';
import type { HeldGrant, StartedDriver } from './driver-chain.js';
import type { HoldContents } from './hold.js';
import { adoptRecord, recordOf, type WrittenRecord } from './hold-record.js';
import type { SavedHold } from './saved-hold.js';

export interface AdoptedHold {
  readonly contents: HoldContents;
  readonly record: WrittenRecord;
}

/**
 * @param descriptors those of the hold, in their order; none: nobody was left to keep them, and it is all locked again.
 * Throws what a driver's `adopt` throws (`IN_USE`, `LOST`), `UNSUPPORTED`, `NO_RECORD`; then the descriptors are the
 * caller's still.
 */
export async function adoptHold(
  saved: SavedHold,
  descriptors: readonly number[],
  directory: string,
  driverOf: (name: string) => Promise<StartedDriver>,
): Promise<AdoptedHold> {
  const { id, owner, since, plan, notes, grants } = saved;
  const counted = grants.reduce((sum, grant) => sum + grant.descriptors, 0);
  if (descriptors.length !== 0 && descriptors.length !== counted + 1) {
    const message = `hold ${id} has ${counted + 1} descriptors, but ${descriptors.length} were kept`;
    throw new HoldfastError('LOST', message);
  }
  const held: HeldGrant[] = [];
  let first = 0;
  try {
    for (const grant of grants) {
      const { about, driver } = await driverOf(grant.driver);
      if (driver.adopt === undefined) {
        const message = `driver ${about.name} cannot take up what it granted before a restart`;
        throw new HoldfastError('UNSUPPORTED', message);
      }
      const end = first + (descriptors.length === 0 ? 0 : grant.descriptors);
      const requests = requestsOf(saved, grant.modes);
      held.push({
        about,
        driver,
        grant: await driver.adopt(owner, requests, descriptors.slice(first, end)),
      });
      first = end;
    }
    const contents = { id, owner, since, plan, notes, held };
    const record = adoptRecord(directory, recordOf(contents, undefined), descriptors.at(-1));
    return { contents: { ...contents, recordDescriptor: record.fd }, record };
  } catch (error) {
    // What was kept stays with the caller; what was locked anew is given back.
    if (descriptors.length === 0) for (const { driver, grant } of held) await driver.release(grant);
    else
      closeAll(
        held.flatMap(({ grant }) => grant.descriptors),
        descriptors,
      );
    throw error;
  }
}

/** A hold of which some things, by the names that `shrink` takes, may have been given back already. */
export function withoutLeaving(saved: SavedHold, leaving: readonly string[]): SavedHold {
  let { plan } = saved;
  for (const name of leaving) plan = withoutName(plan, name) ?? plan;
  const stays = new Set(plan.requests.map(({ resource }) => resource.identity));
  const grants = saved.grants.map((grant) => ({
    ...grant,
    modes: Object.fromEntries(Object.entries(grant.modes).filter(([identity]) => stays.has(identity))),
  }));
  return { ...saved, plan, grants };
}

function requestsOf({ plan, id }: SavedHold, modes: SavedHold['grants'][number]['modes']): LockRequest[] {
  const planned = new Map(plan.requests.map((request) => [request.resource.identity, request.resource]));
  return Object.entries(modes).map(([identity, mode]) => {
    const resource = planned.get(identity);
    if (resource === undefined)
      throw new HoldfastError('LOST', `hold ${id} does not say what ${identity} is`);
    return { resource, mode };
  });
}

function closeAll(descriptors: readonly number[], except: readonly number[]): void {
  for (const fd of descriptors) if (!except.includes(fd)) closeSync(fd);
}
