/** Every lock of the cluster, by who holds it. */
import type { ClusterHold, ClusterLock } from '../../driver/contract.js';
import type { EtcdClient } from './client/etcd-client.js';
import { asClusterError } from './client/etcd-failure.js';
import type { KeyValue } from './client/messages.js';
import type { Connection } from './connection.js';
import { parseRecord, type LockRecord } from './lock-record.js';

/** A value is some hundred bytes; an answer of etcd should be small. */
const keysInAnswer = 2_000;

/** All of one revision, sorted by host and name. Throws `CLUSTER_...`. */
export async function clusterHolds(connection: Connection): Promise<readonly ClusterHold[]> {
  const { keys } = connection;
  try {
    const client = await connection.client();
    const holds = new Map<
      string,
      { readonly who: Omit<ClusterHold, 'locks'>; readonly locks: ClusterLock[] }
    >();
    for await (const kv of pages(client, connection)) {
      const lock = keys.parseLock(kv.key.toString('utf8'));
      if (lock === undefined) continue;
      const record = parseRecord(kv.value);
      const group = record === undefined ? lock.identity : `${record.hostId} ${record.holder}`;
      const hold = holds.get(group) ?? { who: whoOf(record), locks: [] };
      holds.set(group, hold);
      hold.locks.push({
        identity: lock.identity,
        label: record?.label ?? lock.identity,
        mode: lock.mode,
        revision: kv.modRevision,
      });
    }
    return [...holds.values()].map(({ who, locks }) => ({ ...who, locks })).toSorted(byHostAndName);
  } catch (error) {
    throw asClusterError(error, 'etcd could not be asked who holds what');
  }
}

async function* pages(client: EtcdClient, { keys }: Connection): AsyncGenerator<KeyValue, void> {
  const all = keys.allLocks();
  let from = all.key;
  // The first answer says which revision the others have to show.
  let revision: number | undefined;
  for (;;) {
    const at = revision === undefined ? {} : { revision };
    const { kvs, more, header } = await client.range({ ...all, key: from, limit: keysInAnswer, ...at });
    yield* kvs;
    const last = kvs.at(-1);
    if (!more || last === undefined) return;
    revision ??= header?.revision;
    from = `${last.key.toString('utf8')}\0`;
  }
}

function whoOf(record: LockRecord | undefined): Omit<ClusterHold, 'locks'> {
  if (record === undefined) return { host: '?', hostId: '?', name: '?' };
  const { host, hostId, kind, name, uuid, pid, startTime, program, since } = record;
  return {
    host,
    hostId,
    name,
    ...(kind === 'domain' ? { guest: name } : {}),
    uuid,
    pid,
    startTime,
    ...(program === undefined ? {} : { program }),
    since,
  };
}

function byHostAndName(a: ClusterHold, b: ClusterHold): number {
  return (
    a.host.localeCompare(b.host) ||
    a.hostId.localeCompare(b.hostId) ||
    a.name.localeCompare(b.name) ||
    (a.since ?? '').localeCompare(b.since ?? '')
  );
}
