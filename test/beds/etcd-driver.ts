/** The etcd driver as tests of it use it: all of its functions, an owner, and disks that only a cluster can lock. */
import { randomUUID } from 'node:crypto';
import type { Driver } from '../../src/driver/contract.js';
import type { Owner, Resource } from '../../src/vocabulary.js';

export type FullEtcdDriver = Required<Omit<Driver, 'tidy'>>;

export function clusterOwner(name: string): Owner {
  return {
    kind: 'domain',
    name,
    uuid: randomUUID(),
    pid: 1,
    startTime: 1,
    host: 'h',
    hostId: 'a'.repeat(32),
  };
}

let made = 0;

/** Another one each time. */
export function networkDisk(): Resource {
  const identity = `net:rbd:disk${++made}`;
  return { kind: 'disk', identity, label: identity, storage: 'network', scope: 'cluster' };
}
