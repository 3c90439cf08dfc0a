/** Gives back a part of a hold, or all of it for a while. */
import type { AcquireOptions } from '../driver/contract.js';
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

/**
 * Gives the locks back for as long as the guest is paused, all or none of them. Throws `UNSUPPORTED` where a driver cannot,
 * and `LOST` if what was given back until then is somebody else's already.
 * @param options with which it was all acquired
 */
export async function suspendGrants(held: readonly HeldGrant[], options: AcquireOptions): Promise<void> {
  for (const { about, driver } of held) {
    if (driver.suspend === undefined || driver.resume === undefined) {
      throw new HoldfastError('UNSUPPORTED', `driver ${about.name} cannot suspend a hold`, {
        remedy: 'Leave it held while the guest is paused, or release it.',
      });
    }
  }
  const given: HeldGrant[] = [];
  try {
    for (const part of held.toReversed()) {
      await part.driver.suspend?.(part.grant);
      given.unshift(part);
    }
  } catch (error) {
    await resumeGrants(given, options);
    throw error;
  }
}

/**
 * Takes them again: all or none. Throws `LOST` if somebody else had one of them meanwhile, and `IN_USE` where somebody
 * has one now.
 */
export async function resumeGrants(held: readonly HeldGrant[], options: AcquireOptions): Promise<void> {
  const taken: HeldGrant[] = [];
  try {
    for (const part of held) {
      part.grant = (await part.driver.resume?.(part.grant, options)) ?? part.grant;
      taken.unshift(part);
    }
  } catch (error) {
    for (const { driver, grant } of taken) await driver.suspend?.(grant);
    throw error;
  }
}

/**
 * Takes again what was lost, if nobody had it since. Throws `LOST` if somebody did, and `UNSUPPORTED` before anything is
 * taken. What was taken before an error is lost no longer, and is not asked for again.
 */
export async function retakeGrants(lost: readonly HeldGrant[], options: AcquireOptions): Promise<void> {
  const unable = lost.find(({ driver }) => driver.resume === undefined);
  if (unable !== undefined || lost.length === 0) {
    const who = unable === undefined ? 'this hold' : `driver ${unable.about.name}`;
    throw new HoldfastError('UNSUPPORTED', `${who} cannot take again what was lost`);
  }
  for (const part of lost) part.grant = (await part.driver.resume?.(part.grant, options)) ?? part.grant;
}
