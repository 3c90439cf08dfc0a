/** Resources for drivers that look at nothing but the identity, and owners, for tests. */
import { randomUUID } from 'node:crypto';
import type { LockRequest, Mode, Owner, Resource } from '../../src/vocabulary.js';

export function namedResource(name: string | number): Resource {
  return {
    kind: 'disk',
    identity: `test:${String(name).padStart(6, '0')}`,
    label: `/images/${name}.img`,
    storage: 'name',
    scope: 'host',
  };
}

export function request(name: string | number, mode: Mode = 'exclusive'): LockRequest {
  return { resource: namedResource(name), mode };
}

export function owner(name: string): Owner {
  return {
    kind: 'domain',
    name,
    uuid: randomUUID(),
    pid: process.pid,
    startTime: 1,
    host: 'here',
    hostId: '0'.repeat(32),
  };
}

export const signal: AbortSignal = new AbortController().signal;
