/** The options that `run` and `plan` have in common, as the library takes them. */
import { parseDuration } from '../duration.js';
import { HoldfastError } from '../errors.js';
import { openManager, type GuestParts, type LockOptions, type LossAction, type Manager } from '../index.js';
import type { OptionValues } from './parse-arguments.js';

export function managerFrom(options: OptionValues): Manager {
  const driver = options.text('driver');
  const configuration = options.text('config');
  const qemuLock = options.text('qemu-lock');
  return openManager({
    ...(driver === undefined ? {} : { driver: driverList(driver) }),
    ...(configuration === undefined ? {} : { configuration }),
    ...(qemuLock === 'check' || qemuLock === 'hold' || qemuLock === 'off' ? { qemuLock } : {}),
  });
}

function driverList(text: string): string[] {
  const names = text.split(',').map((name) => name.trim());
  if (!names.includes('')) return names;
  throw new HoldfastError('USAGE', `--driver ${text} has an empty name`, {
    remedy: 'Write names joined by commas: --driver fcntl,nop',
  });
}

/** What to lock, or to look at. Throws USAGE if that is `nothing`. */
export function guestFrom(
  options: OptionValues,
  command: string | undefined,
  nothing = 'there is nothing to lock',
  alsoGive = '',
): GuestParts {
  const files = options.list('xml');
  const domains = options.list('domain');
  const connect = options.text('connect');
  const disks = options.list('disk');
  const leases = options.list('lease');
  if (files.length + domains.length + disks.length + leases.length === 0) {
    throw new HoldfastError('USAGE', nothing, {
      remedy: `Give ${alsoGive}--xml FILE, --domain NAME, --disk PATH or --lease LOCKSPACE:KEY.`,
    });
  }
  const name = options.text('name') ?? command;
  return {
    disks,
    leases,
    file: files,
    domain: domains.map((domain) => ({ name: domain, ...(connect === undefined ? {} : { connect }) })),
    ...(connect === undefined ? {} : { connect }),
    ...(name === undefined ? {} : { name }),
  };
}

/** `--wait` without a time is for ever; without either, the configuration says. */
export function lockOptionsFrom(options: OptionValues): LockOptions {
  const time = options.text('wait');
  const onLost = options.text('on-lost') as LossAction | undefined;
  const wait = time === '' ? true : time === undefined ? undefined : parseDuration(time);
  return {
    ...(wait === undefined ? {} : { wait }),
    ...(options.has('allow-unlocked') ? { allowUnlocked: true } : {}),
    ...(onLost === undefined ? {} : { onLost }),
  };
}
