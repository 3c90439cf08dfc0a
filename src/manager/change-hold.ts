/** Gives back a part of a hold, or all of it for a while. */
import { HoldfastError } from '../errors.js';
import type { HeldGrant } from './driver-chain.js';

export interface Shrunk {
  /** The grants that are left. */
  readonly held: readonly HeldGrant[];
  /** What a driver threw. What it had to give back is no longer the hold's all the same: nobody may rely on it. */
  readonly failure?: unknown;
}

/** Gives back identities, in reverse order of the drivers. Throws `UNSUPPORTED` before anything is given back. */
export async function shrinkGrants(
  held: readonly HeldGrant[],
  identities: readonly string[],
): Promise<Shrunk> {
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
  let failure: unknown;
  for (const { part, goes, whole } of parts.toReversed()) {
    if (goes.length === 0 || !whole) kept.unshift(part);
    if (goes.length === 0) continue;
    try {
      if (whole) await part.driver.release(part.grant);
      else part.grant = (await part.driver.shrink?.(part.grant, goes)) ?? part.grant;
    } catch (error) {
      failure ??= error;
    }
  }
  return { held: kept, ...(failure === undefined ? {} : { failure }) };
}

/** Gives the locks back for as long as the guest is paused. Throws `UNSUPPORTED` before anything is given back. */
export async function suspendGrants(held: readonly HeldGrant[]): Promise<void> {
  for (const { about, driver } of held) {
    if (driver.suspend === undefined || driver.resume === undefined) {
      throw new HoldfastError('UNSUPPORTED', `driver ${about.name} cannot suspend a hold`, {
        remedy: 'Leave it held while the guest is paused, or release it.',
      });
    }
  }
  for (const { driver, grant } of held.toReversed()) await driver.suspend?.(grant);
}

/** Takes them again. Throws `LOST` if somebody else had one of them meanwhile. */
export async function resumeGrants(held: readonly HeldGrant[], signal: AbortSignal): Promise<void> {
  for (const part of held) part.grant = (await part.driver.resume?.(part.grant, { signal })) ?? part.grant;
}
