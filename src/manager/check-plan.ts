/** Would a plan be granted now? Looks, and takes nothing. */
import type { HoldfastError } from '../errors.js';
import type { ErrorCode, Holder, LockRequest, Plan } from '../vocabulary.js';
import { cacheNotes } from './cache-notes.js';
import type { Assignment, DriverChain } from './driver-chain.js';
import { conflictingHolders, holdersInTheWay } from './explain-refusal.js';
import type { LiveRecord } from './hold-record.js';
import { lockingDrivers } from './acquire-plan.js';
import { requireLossAction, type WantedLossAction } from './loss-action.js';
import { requireNoMistake } from './require-no-mistake.js';
import { unlockedUses, unseenNotes, writerNotes } from './unlocked-use.js';

/** How it stands with one resource of a plan at this moment. */
export interface ResourceState {
  readonly identity: string;
  /** Whether it would be granted now. */
  readonly free: boolean;
  /** Why not, beside the holders. */
  readonly reason?: string;
  readonly code?: ErrorCode;
  readonly remedy?: string;
  readonly holders: readonly Holder[];
}

/** A plan, and whether it would be granted now. */
export interface CheckedPlan extends Plan {
  /** False if something is refused, or in use. */
  readonly granted: boolean;
  readonly drivers: readonly string[];
  /** One for each of `requests`, in that order. */
  readonly states: readonly ResourceState[];
}

export interface CheckOptions {
  readonly allowUnlocked: boolean;
  /** Records of holds that live. Undefined: only the drivers are asked, and nobody is looked for. */
  readonly records: readonly LiveRecord[] | undefined;
  /** What is to be done when a lock is lost, where that matters. */
  readonly loss?: WantedLossAction | undefined;
}

export async function checkPlan(
  plan: Plan,
  chain: DriverChain,
  { allowUnlocked, records, loss }: CheckOptions,
): Promise<CheckedPlan> {
  const assignment = await chain.assign(plan.requests);
  requireNoMistake(assignment, plan);
  if (loss !== undefined) requireLossAction(lockingDrivers(assignment), loss);
  const uses = records === undefined ? new Map<string, Holder[]>() : await unlockedUses(plan.requests);
  const states: ResourceState[] = [];
  for (const request of plan.requests) {
    states.push(
      await stateOf(request, assignment, uses.get(request.resource.identity), records, allowUnlocked),
    );
  }
  return {
    ...plan,
    notes: [
      ...plan.notes,
      ...assignment.notes,
      // What a driver knows of its surroundings it may know only since it was asked.
      ...new Set(assignment.shares.flatMap(({ driver }) => driver.notes?.() ?? [])),
      ...cacheNotes(plan.items, assignment.shares),
      ...(records === undefined ? [] : [...unseenNotes(plan.requests), ...(await writerNotes(plan.items))]),
    ],
    granted: plan.items.every(({ verdict }) => verdict !== 'refuse') && states.every(({ free }) => free),
    drivers: assignment.shares.map(({ about }) => about.name),
    states,
  };
}

async function stateOf(
  request: LockRequest,
  { shares, unlockable }: Assignment,
  unlocked: readonly Holder[] | undefined,
  records: readonly LiveRecord[] | undefined,
  allowUnlocked: boolean,
): Promise<ResourceState> {
  const { identity } = request.resource;
  const cannot = unlockable.find((candidate) => candidate.request === request);
  if (cannot !== undefined) {
    const { reason, remedy } = cannot;
    return {
      identity,
      free: allowUnlocked,
      reason,
      code: 'CANNOT_LOCK',
      ...(remedy === undefined ? {} : { remedy }),
      holders: [],
    };
  }
  const inTheWay: Holder[] = [];
  let error: HoldfastError | undefined;
  for (const { driver, requests } of shares) {
    const own = requests.find(({ resource }) => resource.identity === identity);
    if (own === undefined) continue;
    const probed = driver.probe === undefined ? undefined : (await driver.probe([own]))[0];
    error ??= probed?.error;
    inTheWay.push(
      ...(probed === undefined ? await conflictingHolders(driver, own) : probed.free ? [] : probed.holders),
    );
  }
  if (inTheWay.length > 0) {
    return {
      identity,
      free: false,
      code: 'IN_USE',
      holders: records === undefined ? inTheWay : await holdersInTheWay(request, inTheWay, records),
    };
  }
  if (error !== undefined) {
    const { code, message, remedy } = error;
    return { identity, free: false, code, reason: message, remedy, holders: [] };
  }
  if (unlocked === undefined) return { identity, free: true, holders: [] };
  return {
    identity,
    free: allowUnlocked,
    code: 'IN_USE',
    reason: 'it is in use without a lock',
    holders: unlocked,
  };
}
