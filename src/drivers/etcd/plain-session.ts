/** A lease that is kept alive, and until when it is certain. */
import type { GuaranteeTimes } from '../../driver/contract.js';
import { boottimeMs } from '../../system/boot-clock.js';
import type { Loss } from '../../vocabulary.js';
import type { EtcdClientOptions } from './client/endpoint.js';
import { EtcdClient } from './client/etcd-client.js';
import { guaranteeFrom, type Timings } from './timings.js';

export interface Session {
  readonly leaseId: bigint;
  /** Hexadecimal. */
  readonly clusterId: string;
  readonly times: GuaranteeTimes;
  onRenewal(listener: (times: GuaranteeTimes) => void): () => void;
  /** Settles when the session is lost; `resources` is empty: it is all that the session has. */
  readonly lost: Promise<Loss>;
  /** Revokes the lease: all keys go with it. */
  end(): Promise<void>;
}

export interface SessionMark {
  /** The session's own key. */
  readonly key: (lease: bigint) => string;
  readonly value: string;
}

export async function openSession(
  options: EtcdClientOptions,
  timings: Timings,
  mark: SessionMark,
): Promise<Session> {
  const client = await EtcdClient.open(options);
  const sentAtMs = boottimeMs();
  const { id, header } = await client.leaseGrant(timings.ttlMs / 1000);
  const key = mark.key(id);
  await client.put({ key, value: mark.value, lease: id });
  let times = guaranteeFrom(sentAtMs, timings);
  const listeners = new Set<(times: GuaranteeTimes) => void>();
  let lose: (loss: Loss) => void = () => undefined;
  const lost = new Promise<Loss>((resolve) => (lose = resolve));
  const renew = async (): Promise<void> => {
    const t0 = boottimeMs();
    const kept = await client.leaseKeepAlive(id);
    const read = await client.range({ key });
    if (kept.ttl <= 0 || read.count === 0) {
      lose({ reason: 'its lease in etcd is gone', resources: [] });
    } else if (kept.header?.raftTerm === read.header?.raftTerm) {
      times = guaranteeFrom(t0, timings);
      for (const listener of listeners) listener(times);
    }
  };
  const timer = setInterval(() => {
    if (boottimeMs() >= times.loseAtMs)
      lose({ reason: 'etcd did not confirm its lease in time', resources: [] });
    void renew().catch(() => undefined);
  }, timings.renewIntervalMs);
  return {
    leaseId: id,
    clusterId: (header?.clusterId ?? 0n).toString(16),
    get times() {
      return times;
    },
    onRenewal(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    lost,
    async end() {
      clearInterval(timer);
      await client.leaseRevoke(id).finally(() => client.close());
    },
  };
}
