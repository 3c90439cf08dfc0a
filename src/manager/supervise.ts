/** The front door of `run --supervise`. Most commands are run in place, and do not pay for what stands behind it. */
import type { GuardProcess } from '../guard/guard-process.js';
import type { LaunchState } from '../system/launch-state.js';
import type { LossAction } from '../vocabulary.js';
import type { Hold } from './hold.js';

export interface SuperviseOptions {
  /** What to do with the command when a lock is lost. Default: the domain's `<on_lockfailure>`, else `poweroff`. */
  readonly onLost?: LossAction;
  /** Between SIGTERM and SIGKILL, in milliseconds. */
  readonly graceMs?: number;
  /** What the command is to find as it was before Node started: `takeLaunchState`. */
  readonly launch?: LaunchState | undefined;
  /**
   * Told that the locks could not be given back after the command had ended: then its status, or why it was stopped, is given all the
   * same. Missing: what went wrong is thrown instead.
   */
  readonly onUnreleased?: (error: unknown) => void;
  /** Of `startGuardEarly`; it is ended here if it is not needed. */
  readonly guard?: GuardProcess | undefined;
}

/**
 * Starts a guard for a command that is to be run under grants that will end by themselves: it is there by the time that they
 * are granted. To be ended with `guard.order({ do: 'end' })` where they are not.
 */
export async function startGuardEarly(): Promise<GuardProcess> {
  const { GuardProcess } = await import('../guard/guard-process.js');
  return new GuardProcess({ command: true }, { loseAtMs: Infinity, killAtMs: Infinity, endMs: Infinity });
}

/**
 * Runs a command under a hold, and releases the hold when nobody is left. Gives the command's exit status, or
 * 128 and the number of the signal that ended it, as shells do.
 *
 * It needs a process of its own: everything below that is taken for the command's, waited for, and stopped with it.
 * Throws `USAGE` if this process has children already, `UNSUPPORTED` for what a driver leaves no time for when a lock is lost,
 * `COMMAND_NOT_FOUND`, `COMMAND_NOT_EXECUTABLE`; `LOST` after
 * everything was stopped. In each case the hold is released.
 */
export async function superviseCommand(
  hold: Hold,
  command: readonly [string, ...string[]],
  options: SuperviseOptions = {},
): Promise<number> {
  const { supervise } = await import('./supervision.js');
  return supervise(hold, command, options);
}
