/** Opens a session with etcd: asks for a lease, and has it renewed from then on (`renewed-session.ts`). */
import { HoldfastError } from '../../../errors.js';
import { boottimeMs } from '../../../system/boot-clock.js';
import { EtcdClient } from '../client/etcd-client.js';
import type { EtcdClientOptions } from '../client/endpoint.js';
import type { LeaseResponse } from '../client/messages.js';
import { guaranteeFrom, type Timings } from '../timings.js';
import { startSession } from './advance-session.js';
import { RenewedSession, type Session } from './renewed-session.js';
import type { SessionLease } from './session-runner.js';

export type { Session } from './renewed-session.js';

export interface SessionMark {
  /** The session's own key. */
  readonly key: (lease: bigint) => string;
  readonly value: string;
}

/** `shared`: a client that stays open after the session; without it, it has one of its own. Throws what the client throws, and `CLUSTER_NO_QUORUM` if the grant came too late to be of use. */
export async function openSession(
  options: EtcdClientOptions,
  timings: Timings,
  mark: SessionMark,
  shared?: EtcdClient,
): Promise<Session> {
  const client = shared ?? (await EtcdClient.open(options));
  try {
    const { granted, sentAtMs, endpoint } = await grant(client, timings);
    const { id, header, ttl } = granted;
    if (header === undefined || ttl * 1000 < timings.ttlMs) {
      throw new HoldfastError(
        'DRIVER_FAILED',
        `etcd granted a lease of ${ttl} s instead of ${timings.ttlMs / 1000} s`,
      );
    }
    const begin = startSession(
      { clusterId: header.clusterId, sentAtMs, endpoints: client.endpointCount, endpoint },
      timings,
    );
    const lease: SessionLease = { id, markKey: mark.key(id), markValue: mark.value };
    return new RenewedSession({ options, client, closesClient: shared === undefined, timings, lease, begin });
  } catch (error) {
    if (shared === undefined) client.close();
    throw error;
  }
}

/** From one server after the other, so that it is known when the one that granted it was asked. */
async function grant(
  client: EtcdClient,
  timings: Timings,
): Promise<{ readonly granted: LeaseResponse; readonly sentAtMs: number; readonly endpoint: number }> {
  let failure: unknown;
  for (let tried = 0; tried < client.endpointCount; tried++) {
    const endpoint = (client.endpoint + tried) % client.endpointCount;
    const sentAtMs = boottimeMs();
    try {
      const granted = await client.leaseGrant(timings.ttlMs / 1000, { endpoint });
      if (boottimeMs() < guaranteeFrom(sentAtMs, timings).loseAtMs) return { granted, sentAtMs, endpoint };
      failure = new HoldfastError(
        'CLUSTER_NO_QUORUM',
        'etcd took longer to grant a lease than it may take to renew it',
      );
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}
