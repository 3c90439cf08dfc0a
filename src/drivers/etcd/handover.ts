/**
 * Handing a grant over to another host: offered, and then accepted in one transaction that deletes the giver's keys and puts
 * the receiver's under the receiver's lease. Nobody can have the locks in between, and nobody can accept twice.
 *
 * An offer is a key under the giver's lease: it ends with the giver. Whoever knows its name can accept it, so the name is random.
 */
import type { Offer } from '../../driver/contract.js';
import { HoldfastError } from '../../errors.js';
import { randomHex } from '../../system/random.js';
import type { LockRequest, Owner } from '../../vocabulary.js';
import { asClusterError } from './client/etcd-failure.js';
import type { Connection } from './connection.js';
import { ended, Holding } from './holding.js';
import { isUnchanged, tooMany } from './lock-transaction.js';
import { deleteKeys, takeLocks, withSession } from './take-locks.js';
import { watchOwnKeys } from './own-keys.js';

/** The value of an offer's key: what the giver has. */
interface OfferRecord {
  readonly format: 1;
  readonly hostId: string;
  readonly locks: readonly OfferedLock[];
}

interface OfferedLock {
  readonly request: LockRequest;
  readonly identity: string;
  readonly key: string;
  readonly revision: number;
}

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
    await client.put({
      key: keys.offer(name),
      value: JSON.stringify(record),
      lease: holding.session.leaseId,
    });
  } catch (error) {
    connection.untilDone(holding.session, () => deleteKeys(connection, [keys.offer(name)]));
    throw asClusterError(error, 'the locks could not be offered');
  }
  return { cluster: holding.session.clusterId, prefix: settings.prefix, offer: name };
}

/** Throws `ENDED` for an offer that is not there any more, `LOST` if the giver has lost a lock, `CANNOT_LOCK`, `CLUSTER_...`. */
export async function accept(connection: Connection, given: Offer, owner: Owner): Promise<Holding> {
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
      const [found] = (await client.range({ key: keys.offer(name) })).kvs;
      if (found === undefined) throw gone();
      const record = JSON.parse(found.value.toString('utf8')) as OfferRecord;
      requireReachable(record, hostId);
      const wanted = record.locks.map(({ request, identity }) => ({ request, identity }));
      const outcome = await takeLocks(connection, session, {
        owner,
        wanted,
        turn: () => 'anyone',
        own: new Map(record.locks.map(({ identity, key }) => [identity, key])),
        also: [
          isUnchanged(keys.offer(name), found.modRevision),
          ...record.locks.map(({ key, revision }) => isUnchanged(key, revision)),
        ],
        besides: [keys.offer(name), ...record.locks.map(({ key }) => key)].map((key) => ({
          delete: { key },
        })),
      });
      if ('blockers' in outcome) {
        if ((await client.range({ key: keys.offer(name), countOnly: true })).count === 0) throw gone();
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
  const [first] = holding.locks.values();
  // The offer and the giver's keys go in one transaction, or stay: so one of the keys tells, whoever deleted the offer.
  const { responses } = await client.idempotentTxn({
    compare: [],
    success: [{ delete: { key } }, { range: { key: first?.key ?? key, countOnly: true } }],
    failure: [],
  });
  holding.offers.delete(name);
  const deleted = (responses[0]?.delete?.deleted ?? 0) > 0;
  const still = (responses[1]?.range?.count ?? 0) > 0;
  if (!deleted && !still && holding.loss === undefined) holding.move('handed over');
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
