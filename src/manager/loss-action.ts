/** What is to be done with a command when a lock is lost: who said so, and whether the drivers can. */
import type { AcquireOptions, DriverAbout } from '../driver/contract.js';
import { HoldfastError } from '../errors.js';
import type { LossAction, Plan } from '../vocabulary.js';
import type { Configuration } from './configuration.js';
import type { LockOptions } from './lock-options.js';

export interface WantedLossAction {
  readonly action: LossAction;
  /** Where it was said, in words; undefined: nowhere. */
  readonly said?: string;
}

/** The command line wins over the domain, and the domain, which knows itself, over the configuration. */
export function wantedLossAction(
  asked: LossAction | undefined,
  { onLockFailure }: Pick<Plan, 'onLockFailure'>,
  { onLost }: Pick<Configuration, 'onLost'> = {},
): WantedLossAction {
  if (asked !== undefined) return { action: asked, said: `--on-lost=${asked}` };
  if (onLockFailure !== undefined) {
    return { action: onLockFailure, said: `<on_lockfailure>${onLockFailure}</on_lockfailure> in the XML` };
  }
  if (onLost !== undefined) return { action: onLost, said: `on_lost = "${onLost}" in the configuration` };
  return { action: 'poweroff' };
}

/** Throws `UNSUPPORTED` for what one of the drivers leaves no time for. */
export function requireLossAction(
  abouts: readonly Pick<DriverAbout, 'name' | 'lossActions'>[],
  { action, said }: WantedLossAction,
): void {
  const unable = abouts.find(({ lossActions }) => lossActions?.includes(action) === false);
  if (unable === undefined) return;
  const { name, lossActions = [] } = unable;
  throw new HoldfastError(
    'UNSUPPORTED',
    `driver ${name} cannot ${action} a command whose lock is lost${said === undefined ? '' : ` (${said})`}: ${name} itself ends whoever still holds one then`,
    { remedy: `Choose what it can do: ${lossActions.map((one) => `--on-lost=${one}`).join(' or ')}.` },
  );
}

/** What drivers are to see to themselves, only where nobody stays beside the command; and what they are to pass on, if somebody said it. */
export function lossActionForDrivers(
  abouts: readonly Pick<DriverAbout, 'supervise'>[],
  runs: LockOptions['runs'],
  { action, said }: WantedLossAction,
): Pick<AcquireOptions, 'onLost' | 'lossWish'> {
  const supervised = runs !== 'in place' || abouts.some(({ supervise }) => supervise);
  return {
    ...(supervised ? {} : { onLost: action }),
    ...(said === undefined ? {} : { lossWish: { action, supervised } }),
  };
}
