/** Acquire of a guest with some disks against a bare put of one key, through the same client to the same etcd. */
import { randomUUID } from 'node:crypto';
import etcdDriver from '../../src/drivers/etcd/etcd.js';
import type { EtcdClient } from '../../src/drivers/etcd/client/etcd-client.js';
import type { Grant } from '../../src/driver/contract.js';
import type { LockRequest, Owner, Resource } from '../../src/vocabulary.js';
import { median } from '../measure.js';

const diskCounts = [1, 4, 16];
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 40);
/** Calls in a row of each kind; then it is the other's turn, so that a machine whose speed drifts does it to both. */
const calls = 10;

export interface AcquireFigure {
  readonly disks: number;
  /** Milliseconds, medians of single calls. */
  readonly acquire: number;
  readonly put: number;
}

function named(identity: string): Resource {
  const kind = identity.startsWith('domain:') ? 'domain' : 'disk';
  return { kind, identity, label: identity, storage: 'name', scope: 'cluster' };
}

/** A guest's own uuid, and its disks on network storage; sorted, as the manager sorts. */
function guest(disks: number): { readonly owner: Owner; readonly requests: readonly LockRequest[] } {
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

export async function acquireFigures(
  endpoints: readonly string[],
  client: EtcdClient,
): Promise<readonly AcquireFigure[]> {
  const driver = await etcdDriver.start({ endpoints });
  const { signal } = new AbortController();
  const figures: AcquireFigure[] = [];
  try {
    for (const disks of diskCounts) {
      const guests = Array.from({ length: calls }, () => guest(disks));
      const times: { readonly acquire: number[]; readonly put: number[] } = { acquire: [], put: [] };
      // The first round does not count: the connections, the lease, and compiled code come with it.
      for (let round = 0; round <= rounds; round++) {
        const grants: Grant[] = [];
        for (const { owner, requests } of guests) {
          const start = performance.now();
          grants.push(await driver.acquire(owner, requests, { signal }));
          if (round > 0) times.acquire.push(performance.now() - start);
        }
        for (const grant of grants) await driver.release(grant);
        for (let call = 0; call < calls; call++) {
          const start = performance.now();
          await client.put({ key: 'bench', value: 'x'.repeat(300) });
          if (round > 0) times.put.push(performance.now() - start);
        }
      }
      figures.push({ disks, acquire: median(times.acquire), put: median(times.put) });
    }
  } finally {
    await driver.end?.();
  }
  return figures;
}
