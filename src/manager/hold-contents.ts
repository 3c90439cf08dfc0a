/** What a hold is made of, and what the manager does for it. */
import type { Owner, Plan } from '../vocabulary.js';
import type { HeldGrant } from './driver-chain.js';
import type { GuestInput } from './guest-input.js';
import type { LockOptions } from './lock-options.js';

export type Ending = 'released' | 'abandoned' | 'handed over';

/** What the manager does for its holds. */
export interface HoldKeeper {
  extend(hold: HoldContents, input: GuestInput, options: LockOptions): Promise<HoldContents>;
  /** Gives back what is not in `plan`. `failure`: what a driver threw meanwhile. */
  shrink(
    hold: HoldContents,
    plan: Plan,
  ): Promise<{ readonly contents: HoldContents; readonly failure: unknown }>;
  suspend(hold: HoldContents): Promise<void>;
  resume(hold: HoldContents, signal: AbortSignal): Promise<void>;
  /** Takes again what was lost, in place. Throws `LOST` if somebody had it, `UNSUPPORTED` if a driver cannot tell. */
  retake(hold: HoldContents, lost: readonly HeldGrant[], signal: AbortSignal): Promise<void>;
  /** Writes down what has changed. */
  rewrite(hold: HoldContents): Promise<HoldContents>;
  /** Gives the locks back, unless it is abandoned. `shared`: a child may have inherited them. */
  end(hold: HoldContents, how: Ending, shared: boolean): Promise<void>;
}

export interface HoldContents {
  readonly id: string;
  readonly owner: Owner;
  readonly since: string;
  readonly plan: Plan;
  readonly held: readonly HeldGrant[];
  /** Keeps the record alive for whoever inherits it. */
  readonly recordDescriptor: number;
  readonly notes: readonly string[];
}
