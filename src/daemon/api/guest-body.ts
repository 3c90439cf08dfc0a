/** What a body says of a guest, as the manager takes it. */
import { HoldfastError } from '../../errors.js';
import type { GuestInput, LeaseDescription } from '../../index.js';
import type { Peer } from './peer.js';
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

/** The host's own libvirts, with nothing that could lead elsewhere. */
const ownLibvirt = /^[a-z]+:\/\/\/(?:system|session)?$/;

/**
 * libvirt's client, which the daemon runs, connects as the URI says: through any program that it names
 * (`qemu+ext:///system?command=...`), and to any host. Who may only look must not start one.
 * Throws `NOT_PERMITTED`.
 */
export function requireOwnLibvirt({ connect, domain }: PlanBody, { may }: Peer): void {
  if (may === 'change') return;
  const uris = [connect, ...[domain ?? []].flat().map((one) => one.connect)];
  const other = uris.find((uri) => uri !== undefined && !ownLibvirt.test(uri));
  if (other === undefined) return;
  throw new HoldfastError('NOT_PERMITTED', `members of the group may not have ${other} asked`, {
    remedy: 'Name a libvirt of this host, qemu:///system, or give the XML.',
  });
}

function describeLease(lease: NonNullable<PlanBody['leases']>[number]): LeaseDescription {
  const { lockspace, key, path, offset = 0 } = lease;
  return { label: `${lockspace}:${key}`, lockspace, key, offset, ...(path === undefined ? {} : { path }) };
}
