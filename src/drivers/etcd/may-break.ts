/** Whether locks may be broken: their leases are gone, or all of them are of a host that somebody says is dead. */
import { HoldfastError } from '../../errors.js';
import type { Resource } from '../../vocabulary.js';
import type { EtcdClient } from './client/etcd-client.js';
import type { KeyValue } from './client/messages.js';
import type { Connection } from './connection.js';
import { leaseName } from './keys.js';
import { holderOf, parseRecord } from './lock-record.js';

/** Throws `IN_USE` with the holders whose locks may not be broken. */
export async function requireBreakable(
  connection: Connection,
  client: EtcdClient,
  resource: Resource,
  kvs: readonly KeyValue[],
  deadHost: string | undefined,
): Promise<void> {
  const alive: KeyValue[] = [];
  for (const kv of kvs) {
    const record = parseRecord(kv.value);
    if (deadHost !== undefined && record !== undefined && [record.host, record.hostId].includes(deadHost))
      continue;
    // etcd deletes the keys of a lease with it; one that was put without a lease belongs to nobody of ours.
    if (kv.lease === 0n || (await client.leaseTimeToLive(kv.lease)).ttl <= 0) continue;
    alive.push(kv);
  }
  if (alive.length === 0) return;
  const holders = alive.map((kv) => {
    const key = kv.key.toString('utf8');
    return holderOf(kv, connection.keys.parseLock(key) ?? { identity: '', mode: 'exclusive', holder: key });
  });
  const leases = [...new Set(alive.map(({ lease }) => leaseName(lease)))].join(', ');
  throw new HoldfastError(
    'IN_USE',
    `${resource.label} is not broken: its holder's lease ${leases} is not over${deadHost === undefined ? '' : `, and it is not of host ${deadHost}`}`,
    {
      resource: resource.label,
      holders,
      remedy:
        'Wait for the end of the lease, a few seconds after the last renewal; or, when it is certain that the host does not run any more, say so: --host-is-dead=HOST --because=TEXT.',
    },
  );
}
