/** Takes up what an earlier process held for the same owner, or takes it anew if nobody has it. */
import { HoldfastError } from '../../errors.js';
import type { LockRequest, Owner } from '../../vocabulary.js';
import { asClusterError } from './client/etcd-failure.js';
import type { KeyValue } from './client/messages.js';
import type { Connection } from './connection.js';
import { Holding } from './holding.js';
import { isOf, parseRecord } from './lock-record.js';
import { inUse, isUnchanged } from './lock-transaction.js';
import { watchOwnKeys } from './own-keys.js';
import { takeLocks, wantedBy, withSession } from './take-locks.js';

/**
 * Keys under a lease that an earlier process left go to this one's lease, without a gap. Throws `LOST` if somebody else has
 * one of them, `CLUSTER_...`.
 */
export async function adopt(
  connection: Connection,
  owner: Owner,
  requests: readonly LockRequest[],
): Promise<Holding> {
  const wanted = wantedBy(connection, requests);
  try {
    return await withSession(connection, async (session) => {
      const left = await leftKeys(connection, owner, requests);
      const outcome = await takeLocks(connection, session, {
        owner,
        wanted,
        turn: () => 'anyone',
        own: new Map([...left].map(([identity, { key }]) => [identity, key.toString('utf8')])),
        also: [...left.values()].map(({ key, modRevision }) =>
          isUnchanged(key.toString('utf8'), modRevision),
        ),
        besides: [...left.values()].map(({ key }) => ({ delete: { key: key.toString('utf8') } })),
      });
      if ('blockers' in outcome) {
        const refusal = inUse(outcome.blockers, wanted);
        throw new HoldfastError(
          'LOST',
          `${owner.name} does not hold what its record says: ${refusal.message}`,
          {
            ...(refusal.resource === undefined ? {} : { resource: refusal.resource }),
            holders: refusal.holders,
            cause: refusal,
          },
        );
      }
      const holding = new Holding(owner, session);
      holding.add(outcome.taken);
      watchOwnKeys(connection, holding, outcome.taken);
      return holding;
    });
  } catch (error) {
    throw asClusterError(error, 'what was held could not be taken up');
  }
}

/** The owner's own keys, by identity: each in the mode that is asked for. */
async function leftKeys(
  connection: Connection,
  owner: Owner,
  requests: readonly LockRequest[],
): Promise<ReadonlyMap<string, KeyValue>> {
  const { keys } = connection;
  const client = await connection.client();
  const left = new Map<string, KeyValue>();
  const wanted = wantedBy(connection, requests);
  const answers = await Promise.all(wanted.map(({ identity }) => client.range(keys.held(identity))));
  for (const [n, { kvs }] of answers.entries()) {
    const one = wanted[n];
    if (one === undefined) continue;
    const own = kvs.find(
      ({ key, value }) =>
        isOf(parseRecord(value), owner) && keys.parseLock(key.toString('utf8'))?.mode === one.request.mode,
    );
    if (own !== undefined) left.set(one.identity, own);
  }
  return left;
}
