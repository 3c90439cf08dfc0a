/** What a hold becomes when disks are added to it or given back. */
import { HoldfastError } from '../errors.js';
import type { Plan } from '../vocabulary.js';
import type { HeldGrant } from './driver-chain.js';

/** The plan of a hold with what an extension added. */
export function joinPlans(before: Plan, added: Plan): Plan {
  const known = new Set(before.requests.map(({ resource }) => resource.identity));
  const requests = [
    ...before.requests,
    ...added.requests.filter(({ resource }) => !known.has(resource.identity)),
  ];
  return {
    ...before,
    items: [...before.items, ...added.items.filter(({ role }) => role !== 'domain')],
    requests: requests.toSorted((a, b) => (a.resource.identity < b.resource.identity ? -1 : 1)),
    notes: [...before.notes, ...added.notes],
  };
}

/** Gives back parts of grants, or whole ones. Throws `UNSUPPORTED` before anything is given back. */
export async function shrinkGrants(
  held: readonly HeldGrant[],
  identities: readonly string[],
): Promise<readonly HeldGrant[]> {
  const parts = held.map((part) => {
    const goes = part.grant.requests.filter(({ resource }) => identities.includes(resource.identity));
    return {
      part,
      goes: goes.map(({ resource }) => resource.identity),
      whole: goes.length === part.grant.requests.length,
    };
  });
  const unable = parts.find(
    ({ part, goes, whole }) => goes.length > 0 && !whole && part.driver.shrink === undefined,
  );
  if (unable !== undefined) {
    throw new HoldfastError(
      'UNSUPPORTED',
      `driver ${unable.part.about.name} cannot give back a part of a hold`,
    );
  }
  const kept: HeldGrant[] = [];
  for (const { part, goes, whole } of parts) {
    if (goes.length === 0) kept.push(part);
    else if (whole) await part.driver.release(part.grant);
    else {
      part.grant = (await part.driver.shrink?.(part.grant, goes)) ?? part.grant;
      kept.push(part);
    }
  }
  return kept;
}

/** The plan of a hold without what was given back. */
export function withoutIdentities(plan: Plan, identities: readonly string[]): Plan {
  const stays = (identity: string | undefined): boolean =>
    identity === undefined || !identities.includes(identity);
  return {
    ...plan,
    items: plan.items.filter(({ resource }) => stays(resource?.identity)),
    requests: plan.requests.filter(({ resource }) => stays(resource.identity)),
  };
}
