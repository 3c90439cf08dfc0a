/** A guest as the manager would ask for it: its own uuid, and disks on network storage. */
import { randomUUID } from 'node:crypto';
import type { LockRequest, Owner, Resource } from '../../src/vocabulary.js';

export interface SimulatedGuest {
  readonly owner: Owner;
  /** Sorted by identity, as the manager sorts them. */
  readonly requests: readonly LockRequest[];
}

function named(identity: string): Resource {
  const kind = identity.startsWith('domain:') ? 'domain' : 'disk';
  return { kind, identity, label: identity, storage: 'name', scope: 'cluster' };
}

export function simulatedGuest(disks: number): SimulatedGuest {
  const uuid = randomUUID();
  const owner: Owner = {
    kind: 'domain',
    name: 'bench',
    uuid,
    pid: process.pid,
    startTime: 1,
    host: 'bench',
    hostId: 'b'.repeat(32),
  };
  const requests = [
    named(`domain:${uuid}`),
    ...Array.from({ length: disks }, (_, n) => named(`net:rbd:pool/${uuid}-${String(n).padStart(2, '0')}`)),
  ].map((resource) => ({ resource, mode: 'exclusive' as const }));
  return { owner, requests };
}
