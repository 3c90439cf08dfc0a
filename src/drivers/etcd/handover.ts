/**
 * Handing a grant over to another host: offered, and then accepted in one transaction that deletes the giver's keys and puts
 * the receiver's under the receiver's lease. Nobody can have the locks in between, and nobody can accept twice.
 *
 * An offer is a key under the giver's lease: it ends with the giver. Who accepts it writes that into it, in the same
 * transaction: so a giver that finds its keys gone knows whether they were handed over or lost. Whoever knows the name of an
 * offer can accept it, so the name is random.
 */
import type { Offer } from '../../driver/contract.js';
import { HoldfastError } from '../../errors.js';
import { randomHex } from '../../system/random.js';
import type { Owner } from '../../vocabulary.js';
import { asClusterError } from './client/etcd-failure.js';
import { compareResult, compareTarget } from './client/messages.js';
import type { Connection } from './connection.js';
import { ended, Holding } from './holding.js';
import { isMissing, isUnchanged, tooMany } from './lock-transaction.js';
import { readOffer, type OfferedLock, type OfferRecord } from './read-offer.js';
import { deleteKeys, takeLocks, withSession } from './take-locks.js';
import { watchOwnKeys } from './own-keys.js';
import { readState, requireUntouched } from './travelling-state.js';

/** Throws `CLUSTER_LIMIT` for more than can be handed over at once, `CLUSTER_...`. */
export async function offer(connection: Connection, holding: Holding): Promise<Offer> {
  holding.requireHeld();
  const { settings, keys, hostId } = connection;
  const locks = [...holding.locks.values()].map(({ request, identity, key, revision }): OfferedLock => {
    return { request, identity, key, revision };
  });
  // Each lock is one deletion and one put, and the offer goes with them.
  const operations = 2 * locks.length + 1;
  if (operations > settings.maxOperations) throw tooMany(operations, settings.maxOperations);
  const name = randomHex(16);
  const record: OfferRecord = { format: 1, hostId, locks };
  holding.offers.add(name);
  try {
    const client = await connection.client();
    const key = keys.offer(name);
    const put = { key, value: JSON.stringify(record), lease: holding.session.leaseId };
    // Written once, however often it is sent: the second version of the key is that of the receiver.
    await client.idempotentTxn({ compare: [isMissing(key)], success: [{ put }], failure: [] });
  } catch (error) {
    connection.untilDone(holding.session, () => deleteKeys(connection, [keys.offer(name)]));
    throw asClusterError(error, 'the locks could not be offered');
  }
  return { cluster: holding.session.clusterId, prefix: settings.prefix, offer: name };
}

/** Throws `ENDED` for an offer that is not there any more, `LOST` if the giver has lost a lock, or
 * had not all of it since `state`, `CANNOT_LOCK`, `CLUSTER_...`. */
export async function accept(
  connection: Connection,
  given: Offer,
  owner: Owner,
  { signal, state }: { readonly signal: AbortSignal; readonly state?: string | undefined },
): Promise<Holding> {
  const { keys, settings, hostId } = connection;
  const name = given['offer'] ?? '';
  if (given['prefix'] !== settings.prefix || !/^[0-9a-f]{32}$/.test(name)) {
    throw new HoldfastError('BAD_DATA', 'this is no offer of the driver etcd with the same prefix');
  }
  try {
    return await withSession(connection, async (session) => {
      if (given['cluster'] !== session.clusterId) {
        throw new HoldfastError(
          'BAD_DATA',
          `the offer was made in the etcd cluster ${given['cluster']}, and this is ${session.clusterId}`,
        );
      }
      const client = await connection.client();
      const key = keys.offer(name);
      const [found] = (await client.range({ key })).kvs;
      const record = readOffer(found);
      if (found === undefined || record === undefined || record.accepted === true) throw gone();
      requireReachable(record, hostId);
      if (state !== undefined) {
        // From there on the transaction sees to it itself.
        const before = await readState(
          connection,
          state,
          record.locks.map(({ request }) => request),
        );
        await requireUntouched(connection, before, record.locks, signal);
      }
      const wanted = record.locks.map(({ request, identity }) => ({ request, identity }));
      const outcome = await takeLocks(connection, session, {
        owner,
        wanted,
        turn: () => 'anyone',
        own: new Map(record.locks.map((lock) => [lock.identity, lock.key])),
        also: [
          isUnchanged(key, found.modRevision),
          ...record.locks.map((lock) => isUnchanged(lock.key, lock.revision)),
        ],
        besides: [
          { put: { key, value: JSON.stringify({ ...record, accepted: true }), lease: session.leaseId } },
          ...record.locks.map((lock) => ({ delete: { key: lock.key } })),
        ],
      });
      if ('blockers' in outcome) {
        const [now] = (await client.range({ key })).kvs;
        if (now?.modRevision !== found.modRevision) throw gone();
        throw new HoldfastError('LOST', 'the giver has lost a lock since it made the offer');
      }
      const holding = new Holding(owner, session);
      holding.add(outcome.taken);
      watchOwnKeys(connection, holding, outcome.taken);
      return holding;
    });
  } catch (error) {
    throw asClusterError(error, 'the offer could not be accepted');
  }
}

/** Throws `ENDED` if it was accepted: then the holding is the receiver's. */
export async function cancel(connection: Connection, holding: Holding, given: Offer): Promise<void> {
  const name = given['offer'] ?? '';
  if (!holding.offers.has(name)) {
    if (holding.state === 'held') return;
    throw ended(`this grant is ${holding.state}`);
  }
  try {
    await withdraw(connection, holding, name);
  } catch (error) {
    throw asClusterError(error, 'the offer could not be taken back');
  }
  if (holding.state === 'handed over') throw ended('the offer was accepted already');
}

/** Takes back every offer that is open. Throws `ENDED` if one was accepted, `EtcdFailure`. */
export async function withdrawOffers(connection: Connection, holding: Holding): Promise<void> {
  for (const name of holding.offers) await withdraw(connection, holding, name);
  if (holding.state === 'handed over') throw ended('the offer was accepted already');
}

async function withdraw(connection: Connection, holding: Holding, name: string): Promise<void> {
  const key = connection.keys.offer(name);
  const client = await connection.client();
  const { responses } = await client.idempotentTxn({
    compare: [{ result: compareResult.equal, target: compareTarget.version, key, version: 1 }],
    success: [{ delete: { key } }],
    failure: [{ range: { key } }],
  });
  holding.offers.delete(name);
  if (readOffer(responses[0]?.range?.kvs[0])?.accepted === true) holding.move('handed over');
}

/** What only one host has cannot be held by another: its name would mean the giver's disk, and the receiver uses its own. */
function requireReachable({ hostId: giver, locks }: OfferRecord, hostId: string): void {
  const own = locks.find(({ request }) => request.resource.scope === 'host');
  if (own === undefined || giver === hostId) return;
  const { label } = own.request.resource;
  throw new HoldfastError('CANNOT_LOCK', `${label} is a disk of the giving host alone`, {
    resource: label,
    remedy: 'Hand over guests whose disks both hosts reach; lock the copy of a local disk by itself.',
  });
}

function gone(): HoldfastError {
  return ended('the offer was accepted, taken back, or never made, or its giver is gone');
}
