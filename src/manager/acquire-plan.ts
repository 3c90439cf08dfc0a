/**
 * From a plan to grants: all or nothing, and what was granted is what was planned.
 *
 * Order: the plan; its refusals; uses without a lock; the locks; then, under the locks, whether every path
 * still leads to what is locked and the chain is still the one that was planned. If not, everything is
 * given back and the plan is made again.
 */
import type { AcquireOptions, DriverAbout } from '../driver/contract.js';
import { HoldfastError, isHoldfastError } from '../errors.js';
import { joinPlans, planChanged, stillThere } from '../plan/make-plan.js';
import type { Holder, LockRequest, Owner, Plan, PlanItem } from '../vocabulary.js';
import type { Assignment, DriverChain, HeldGrant } from './driver-chain.js';
import { lossActionForDrivers, requireLossAction, type WantedLossAction } from './loss-action.js';
import type { LockOptions } from './lock-options.js';
import { refusal } from './refusal.js';
import { requireNoMistake } from './require-no-mistake.js';
import { unlockedUses, unseenNotes, writerNotes } from './unlocked-use.js';

/** Each round means that an image was swapped in the moment between the plan and the lock. */
const roundsMax = 5;

/** A process needs some 100 us from its open to its lock, and longer where it has to wait for a processor. */
const useRoundsMax = 4;
const usePauseMs = 10;

export interface AcquiredPlan {
  readonly owner: Owner;
  readonly plan: Plan;
  /** New grants; an extension can also have grown those that there were. */
  readonly held: readonly HeldGrant[];
  /** Gives back what this acquire brought. */
  readonly undo: () => Promise<void>;
  readonly notes: readonly string[];
}

export interface AcquireContext {
  readonly chain: DriverChain;
  readonly owner: Owner;
  readonly makePlan: () => Promise<Plan>;
  readonly allowUnlocked: boolean;
  /** False: whoever asks looks for those who use it without a lock himself, and goes on all the same. */
  readonly looksForUses: boolean;
  readonly signal: AbortSignal;
  readonly unlockOnRelease: boolean;
  readonly progress?: AcquireOptions['progress'];
  /** Of whoever runs a command: see `LockOptions`. */
  readonly runs?: LockOptions['runs'];
  readonly loss?: WantedLossAction;
  /** What the hold has already: not asked for again. */
  readonly before: { readonly plan: Plan; readonly held: readonly HeldGrant[] } | undefined;
}

/** Throws what a plan refuses, `IN_USE` (the driver's, holders not yet looked for), `MOVED`, and what drivers throw. */
export async function acquirePlan(context: AcquireContext): Promise<AcquiredPlan> {
  for (let round = 1; ; round++) {
    try {
      return await acquireOnce(context);
    } catch (error) {
      if (!isHoldfastError(error, 'MOVED') || round === roundsMax) throw error;
    }
  }
}

async function acquireOnce(context: AcquireContext): Promise<AcquiredPlan> {
  const { chain, owner, allowUnlocked, signal, unlockOnRelease, before, loss } = context;
  const own = await context.makePlan();
  const plan = before === undefined ? own : joinPlans(before.plan, own);
  const refused = plan.items.find(({ verdict }) => verdict === 'refuse');
  if (refused !== undefined) throw refusedItem(refused);
  const wanted = withoutHeld(plan.requests, before?.plan.requests ?? []);
  const assignment = await chain.assign(wanted);
  requireNoMistake(assignment, plan);
  const abouts = lockingDrivers(assignment);
  if (loss !== undefined) requireLossAction(abouts, loss);
  const notes = [...unlockableNotes(assignment, allowUnlocked), ...assignment.notes];
  if (context.looksForUses) {
    notes.push(
      ...(await useNotes(wanted, allowUnlocked)),
      ...unseenNotes(wanted),
      ...(await writerNotes(own.items)),
    );
  }
  const { progress } = context;
  const options = {
    signal,
    unlockOnRelease,
    ...(progress === undefined ? {} : { progress }),
    ...(loss === undefined ? {} : lossActionForDrivers(abouts, context.runs, loss)),
  };
  const { added, undo } = await chain.acquire(owner, assignment.shares, options, before?.held);
  try {
    await requireUnmoved(context, own);
  } catch (error) {
    await undo();
    throw error;
  }
  return {
    owner,
    plan,
    held: added,
    undo,
    notes: [...notes, ...added.flatMap(({ grant }) => grant.notes ?? [])],
  };
}

/** Those that are asked for something. */
export function lockingDrivers({ shares }: Assignment): readonly DriverAbout[] {
  return shares.filter(({ requests }) => requests.length > 0).map(({ about }) => about);
}

function withoutHeld(
  requests: readonly LockRequest[],
  already: readonly LockRequest[],
): readonly LockRequest[] {
  const held = new Map(already.map((request) => [request.resource.identity, request]));
  return requests.filter(({ resource, mode }) => {
    const { mode: before, resource: same } = held.get(resource.identity) ?? {};
    if (resource.lease?.path !== undefined && same?.lease !== undefined && same.lease.path === undefined) {
      const message = `${resource.label} is held already without its path, and would not be locked in ${resource.lease.path}`;
      throw new HoldfastError('BAD_DATA', message, {
        resource: resource.label,
        remedy: 'Name the path when it is first locked.',
      });
    }
    if (before === undefined || before === mode) return before === undefined;
    throw new HoldfastError(
      'SAME_DISK_TWICE',
      `${resource.label} is held already, as ${before}, and cannot be held as ${mode} too`,
      {
        resource: resource.label,
      },
    );
  });
}

/** A plan that refuses something, as an error. */
export function refusedItem({ code, label, reason, remedy, place }: PlanItem): HoldfastError {
  return new HoldfastError(code ?? 'CANNOT_LOCK', `${label}: ${reason}`, {
    resource: label,
    ...(remedy === undefined ? {} : { remedy }),
    ...(place === undefined ? {} : { place }),
  });
}

function unlockableNotes({ unlockable }: Assignment, allowUnlocked: boolean): readonly string[] {
  const first = unlockable[0];
  if (first !== undefined && !allowUnlocked) {
    const { label } = first.request.resource;
    throw new HoldfastError('CANNOT_LOCK', `${label} cannot be locked: ${first.reason}`, {
      resource: label,
      ...(first.remedy === undefined ? {} : { remedy: first.remedy }),
    });
  }
  return unlockable.map(({ request, reason }) => `NOT LOCKED: ${request.resource.label} (${reason})`);
}

async function useNotes(
  requests: readonly LockRequest[],
  allowUnlocked: boolean,
): Promise<readonly string[]> {
  const uses = await lastingUses(requests, allowUnlocked);
  const used = requests.filter(({ resource }) => uses.has(resource.identity));
  const first = used[0];
  if (first !== undefined && !allowUnlocked) throw refusal(first, uses.get(first.resource.identity) ?? []);
  return used.map(({ resource }) => {
    const through = (uses.get(resource.identity) ?? []).flatMap((holder) => holder.through);
    return `IN USE ALL THE SAME: ${resource.label} (${through.join(', ')})`;
  });
}

/**
 * Somebody who asks for the same disk in this moment has it open before it is locked, and looks like a writer without
 * a lock. Such a use is gone, or locked, a few milliseconds later; only one that lasts is refused.
 */
async function lastingUses(requests: readonly LockRequest[], once: boolean): Promise<Map<string, Holder[]>> {
  let uses = await unlockedUses(requests);
  for (let round = 0; uses.size > 0 && !once && round < useRoundsMax; round++) {
    await new Promise((resolve) => setTimeout(resolve, usePauseMs));
    uses = await unlockedUses(requests);
  }
  return uses;
}

async function requireUnmoved({ makePlan }: AcquireContext, plan: Plan): Promise<void> {
  const label = await movedLabel(plan, makePlan);
  if (label !== undefined) {
    throw new HoldfastError('MOVED', `${label} was changed between the plan and the lock`, {
      resource: label,
    });
  }
}

async function movedLabel(plan: Plan, makePlan: () => Promise<Plan>): Promise<string | undefined> {
  for (const request of plan.requests) {
    if ((await stillThere(request)) === 'moved') return request.resource.label;
  }
  // Only a chain can change while every path leads where it did: `qemu-img rebase` writes another base into a header.
  if (!plan.headersRead || !planChanged(plan, await makePlan())) return undefined;
  return plan.items.find(({ role }) => role === 'disk')?.label ?? 'an image';
}
