import { randomUuid } from '../system/random.js';
import { HoldfastError } from '../errors.js';
import {
  unnamedCommand,
  type DiskDescription,
  type GuestDescription,
  type LeaseDescription,
} from '../vocabulary.js';

export interface InputParts {
  /** At most one: a hold has one owner. */
  readonly xml?: readonly GuestDescription[];
  readonly disks?: readonly DiskDescription[];
  readonly leases?: readonly LeaseDescription[];
  /** The owner's name where no domain gives one. */
  readonly name?: string | undefined;
}

/**
 * Makes one guest of all that was given. A domain is the owner; without one the owner is a command with an
 * uuid made up at random.
 * @throws HoldfastError USAGE: two domains, or nothing at all
 */
export function combineGuests(parts: InputParts): GuestDescription {
  const { xml = [], disks = [], leases = [], name = unnamedCommand } = parts;
  if (xml.length > 1) {
    const names = xml.map(({ owner }) => owner.name).join(', ');
    throw new HoldfastError('USAGE', `more than one domain was given: ${names}`, {
      remedy: 'Give one domain; further disks and leases can be added with --disk and --lease.',
    });
  }
  const [domain] = xml;
  if (domain !== undefined) {
    return {
      ...domain,
      disks: [...domain.disks, ...disks],
      leases: [...domain.leases, ...leases],
    };
  }
  if (disks.length === 0 && leases.length === 0) {
    throw new HoldfastError('USAGE', 'nothing to lock was given', {
      remedy: 'Give --xml FILE, --domain NAME, --disk PATH or --lease LOCKSPACE:KEY.',
    });
  }
  return { owner: { kind: 'command', name, uuid: randomUuid() }, disks, leases };
}
