/** What a body says of a guest, as the manager takes it. */
import { HoldfastError } from '../../errors.js';
import type { GuestInput, LeaseDescription } from '../../index.js';
import type { PlanBody } from './request-schemas.js';

const unnamed = { kind: 'command', name: 'command' } as const;

/** @param name of who asks, where the body has none. Throws `BAD_DATA` where it says two things at once. */
export function guestInput(body: PlanBody, name = 'holdfastd'): GuestInput {
  const { requests, owner, xml, domain, connect, disks, leases } = body;
  const parts = { xml, domain, disks, leases };
  if (requests !== undefined) {
    const also = Object.entries(parts).find(([, value]) => value !== undefined)?.[0];
    if (also !== undefined)
      throw new HoldfastError('BAD_DATA', `requests and ${also} cannot be given together`);
    if (owner === undefined) throw new HoldfastError('BAD_DATA', 'requests need an owner');
    const { kind = unnamed.kind, uuid, id } = owner;
    return { requests, owner: { kind, name: owner.name, uuid, ...(id === undefined ? {} : { id }) } };
  }
  return {
    ...(xml === undefined ? {} : { xml }),
    ...(domain === undefined ? {} : { domain }),
    ...(connect === undefined ? {} : { connect }),
    // Also where there are none: a name alone would be taken for that of a domain of libvirt's.
    disks: disks ?? [],
    ...(leases === undefined ? {} : { leases: leases.map(describeLease) }),
    name: body.name ?? name,
    ...(owner === undefined
      ? {}
      : {
          owner: { name: owner.name, uuid: owner.uuid, ...(owner.id === undefined ? {} : { id: owner.id }) },
        }),
  };
}

function describeLease(lease: NonNullable<PlanBody['leases']>[number]): LeaseDescription {
  const { lockspace, key, path, offset = 0 } = lease;
  return { label: `${lockspace}:${key}`, lockspace, key, offset, ...(path === undefined ? {} : { path }) };
}
