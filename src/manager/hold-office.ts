/** What the manager does for one hold until it ends: its record, its changes, its end. */
import type { GuestDescription, LockRequest } from '../vocabulary.js';
import type { AcquireContext, AcquiredPlan } from './acquire-plan.js';
import type { HeldGrant } from './driver-chain.js';
import { describeGuest } from './guest-input.js';
import type { HoldContents, HoldKeeper } from './hold.js';
import { leaveRecord, recordOf, rewriteRecord, type WrittenRecord } from './hold-record.js';
import type { LockOptions } from './lock-options.js';

/** The manager, as its holds need it. */
export interface HoldOffice {
  acquire(
    guest: GuestDescription,
    options: LockOptions,
    before: AcquireContext['before'],
  ): Promise<AcquiredPlan>;
  release(held: readonly HeldGrant[]): Promise<void>;
  /** The same error; a refusal of one of the requests says who is in the way. */
  explained(error: unknown, requests: readonly LockRequest[]): Promise<unknown>;
  /** It ends, and is no longer the manager's to close. */
  forget(id: string): void;
}

/** @param options those that the hold was locked with. */
export function holdKeeper(
  office: HoldOffice,
  record: WrittenRecord,
  { command, unlockOnRelease = false }: LockOptions,
): HoldKeeper {
  const rewritten = (contents: HoldContents): HoldContents => {
    rewriteRecord(record, recordOf(contents, command));
    return contents;
  };
  return {
    rewrite: async (contents) => rewritten(contents),
    extend: async (contents, input, options) => {
      const { owner } = contents;
      const added = { ...(await describeGuest(input, options.signal, true)), owner };
      const own = { ...options, process: owner, unlockOnRelease };
      const { plan, held, undo, notes } = await office.acquire(added, own, contents);
      try {
        return rewritten({
          ...contents,
          plan,
          held: [...contents.held, ...held],
          notes: [...new Set([...contents.notes, ...plan.notes, ...notes])],
        });
      } catch (error) {
        await undo();
        throw error;
      }
    },
    shrink: async (contents, plan) => {
      const stays = new Set(plan.requests.map(({ resource }) => resource.identity));
      const goes = contents.plan.requests
        .map(({ resource }) => resource.identity)
        .filter((identity) => !stays.has(identity));
      const { shrinkGrants } = await import('./change-hold.js');
      const { held, failure } = await shrinkGrants(contents.held, goes);
      const shrunk = { ...contents, held, plan };
      try {
        return { contents: rewritten(shrunk), failure };
      } catch (error) {
        return { contents: shrunk, failure: failure ?? error };
      }
    },
    suspend: async (contents) => {
      const { suspendGrants } = await import('./change-hold.js');
      const { signal } = new AbortController();
      await suspendGrants(contents.held, { signal, unlockOnRelease });
      // What is locked by somebody else by now is not to be called this one's.
      const suspended = contents.plan.requests;
      rewriteRecord(record, { ...recordOf(contents, command), requests: [], suspended });
    },
    resume: async (contents, signal) => {
      const { resumeGrants } = await import('./change-hold.js');
      try {
        await resumeGrants(contents.held, { signal, unlockOnRelease });
      } catch (error) {
        throw await office.explained(error, contents.plan.requests);
      }
      rewritten(contents);
    },
    retake: async (contents, lost, signal) => {
      const { retakeGrants } = await import('./change-hold.js');
      await retakeGrants(lost, { signal, unlockOnRelease });
      rewritten(contents);
    },
    end: async (contents, how, shared) => {
      office.forget(contents.id);
      try {
        if (how !== 'abandoned') await office.release(contents.held);
      } finally {
        // A keeper has a duplicate, and is no child that would keep the record alive.
        if (how !== 'abandoned') leaveRecord(record, shared && !unlockOnRelease);
      }
    },
  };
}
