import { randomUuid } from '../system/random.js';
import { HoldfastError } from '../errors.js';
import {
  unnamedCommand,
  type DiskDescription,
  type GuestDescription,
  type LeaseDescription,
} from '../vocabulary.js';

export interface InputParts {
  /** The first is the owner. */
  readonly xml?: readonly GuestDescription[];
  readonly disks?: readonly DiskDescription[];
  readonly leases?: readonly LeaseDescription[];
  /** The owner's name where no domain gives one. */
  readonly name?: string | undefined;
}

/**
 * Makes one guest of all that was given. The first domain is the owner; without one the owner is a command with an
 * uuid made up at random.
 * @throws HoldfastError USAGE: one domain twice, or nothing at all
 */
export function combineGuests(parts: InputParts): GuestDescription {
  const { xml = [], disks = [], leases = [], name = unnamedCommand } = parts;
  const [domain, ...others] = xml;
  if (domain !== undefined) {
    requireDifferent(xml);
    return {
      ...domain,
      ...(others.length === 0 ? {} : { otherDomains: others.map(({ owner }) => owner) }),
      disks: [...xml.flatMap((guest) => guest.disks), ...disks],
      leases: [...xml.flatMap((guest) => guest.leases), ...leases],
    };
  }
  if (disks.length === 0 && leases.length === 0) {
    throw new HoldfastError('USAGE', 'nothing to lock was given', {
      remedy: 'Give --xml FILE, --domain NAME, --disk PATH or --lease LOCKSPACE:KEY.',
    });
  }
  return { owner: { kind: 'command', name, uuid: randomUuid() }, disks, leases };
}

function requireDifferent(guests: readonly GuestDescription[]): void {
  const names = new Map<string, string>();
  for (const { owner } of guests) {
    const before = names.get(owner.uuid);
    if (before !== undefined) {
      throw new HoldfastError(
        'USAGE',
        `one domain was given twice: ${before} and ${owner.name} have the uuid ${owner.uuid}`,
        {
          remedy: 'Give each domain once, or each its own uuid.',
        },
      );
    }
    names.set(owner.uuid, owner.name);
  }
}
