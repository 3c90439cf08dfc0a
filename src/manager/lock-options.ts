/** What a caller can say about one acquire. */
import type { AcquireProgress } from '../driver/contract.js';
import { HoldfastError } from '../errors.js';
import type { LossAction } from '../vocabulary.js';

/** Someone is in the way, and the caller waits. */
export interface Waiting {
  /** The refusal, with the holders. */
  readonly refusal: HoldfastError;
  readonly waitedMs: number;
}

/**
 * Throws `USAGE` for a caller without types: a time that is none would be waited for ever.
 */
export function requireLockOptions({ wait }: LockOptions): void {
  if (wait === undefined || typeof wait === 'boolean') return;
  if (typeof wait === 'number' && wait >= 0) return;
  throw new HoldfastError(
    'USAGE',
    `wait must be a number of milliseconds, true or false, but is ${String(wait)}`,
    {
      remedy: 'Write 30_000 for half a minute.',
    },
  );
}

export interface LockOptions {
  /** How long to wait for what is in use, in milliseconds; true: for ever; default: the configuration's, or not at all. */
  readonly wait?: number | boolean;
  /** Gives up: nothing is held after that. */
  readonly signal?: AbortSignal;
  /** Called about once a second while it waits, until it returns false: to name the holders all of /proc is read. */
  readonly onWait?: (waiting: Waiting) => boolean | void;
  /** Called when a driver has to do something slow before it can lock (join a lockspace: 20 to 200 s). */
  readonly onProgress?: (progress: AcquireProgress) => void;
  /** Goes on where no lock can be had, or where something uses the disk without one. The plan's notes say what. */
  readonly allowUnlocked?: boolean;
  /** The command that will hold, for the record and for those who are refused. */
  readonly command?: readonly string[];
  /**
   * A command is to run under the hold: `in place` of this process, or `beside` it, supervised. Then it is looked, before anything is
   * locked, whether the drivers can do what is to be done when a lock is lost. Missing: the caller sees to a loss himself (`hold.signal`).
   */
  readonly runs?: 'in place' | 'beside';
  /** What that is; default: the domain's `<on_lockfailure>`, then the configuration's `on_lost`, then `poweroff`. Only with `runs`. */
  readonly onLost?: LossAction;
  /**
   * False: a refusal says only what the drivers know; to name who is in the way, all of /proc is read. Together with
   * `allowUnlocked`, and of a plan, it is not looked for uses without a lock either.
   */
  readonly explain?: boolean;
  /** The process that holds, where that is not this one: of a daemon that locks for others. */
  readonly process?: OwnerProcess;
  /**
   * The descriptors are duplicated to a keeper, and inherited by nobody: giving the locks back has to unlock, because
   * closing frees nothing while a duplicate is open.
   */
  readonly unlockOnRelease?: boolean;
}

export interface OwnerProcess {
  readonly pid: number;
  /** Clock ticks after boot: with the pid it names a process for good. */
  readonly startTime: number;
}
