/**
 * Guarantees: all four modes, all or nothing, among all hosts that use the same etcd and prefix; a holder stops before its
 * locks can pass to somebody else; who waits is served in the order of arrival; a handover without a gap.
 * Does not guarantee: anything against programs that do not ask; that what a kill cannot reach ends in time (uninterruptible
 * I/O, dirty pages of the host, a host that was frozen as a whole): the fencing tokens are for that.
 * Depends on: an etcd of version 3.4 or later that a majority of its servers can write to.
 */
import { defineDriver } from '../../driver/contract.js';
import type { Driver, Grant, MappedRequest } from '../../driver/contract.js';
import { HoldfastError } from '../../errors.js';
import { modes, type LockRequest, type Owner } from '../../vocabulary.js';
import { adopt } from './adopt.js';
import { breakLock } from './break-lock.js';
import { asClusterError } from './client/etcd-failure.js';
import { clusterHolds } from './cluster-holds.js';
import { Connection } from './connection.js';
import { readEtcdSettings } from './etcd-settings.js';
import { examine } from './examine.js';
import { accept, cancel, offer, withdrawOffers } from './handover.js';
import { grantOf, type HeldLock, Holding, holdingOf } from './holding.js';
import { clusterIdentity } from './keys.js';
import { holderOf } from './lock-record.js';
import { guard, tooMany } from './lock-transaction.js';
import { watchOwnKeys } from './own-keys.js';
import { forgetPause, resume, suspend } from './pause.js';
import { deleteKeys, deleteLocks, wantedBy } from './take-locks.js';
import { reserve } from './reserve.js';
import { takeInTurn } from './take-in-turn.js';
import { inquire, readState, requireUntouched } from './travelling-state.js';
import { lookFor } from './look-for.js';
import { Queue } from './waiting.js';

export default defineDriver(
  {
    name: 'etcd',
    reach: 'cluster',
    modes,
    guarantees: [
      'of all hosts that use the same etcd and prefix, no two holders have incompatible modes',
      'a holder is stopped before its locks can pass to somebody else',
      'those who wait are served in the order in which they came',
      'each grant has a fencing token, which only grows',
    ],
    doesNotGuarantee: [
      'anything against programs that open the disk without asking for a lock',
      'that what a kill cannot reach ends in time: uninterruptible I/O, dirty pages of the host, a host that was frozen as a whole',
      'anything while a majority of the etcd servers is away: nothing new is locked then, and what is held is stopped',
    ],
    supervise: true,
    renews: true,
  },
  (settings) => etcdDriver(new Connection(readEtcdSettings(settings))),
);

/** To delete the keys of a lock that was lost, where its lease has not ended in etcd: then others need not wait for that. */
const lostReleaseMsMax = 500;

function etcdDriver(connection: Connection): Driver {
  const { keys, settings } = connection;
  const queue = new Queue(connection);

  const take = async (
    owner: Owner,
    requests: readonly LockRequest[],
    signal: AbortSignal,
  ): Promise<Holding> => {
    refuseIfAborted(signal);
    const { session, taken } = await takeInTurn(connection, queue, owner, requests, signal);
    const holding = new Holding(owner, session);
    holding.add(taken);
    watchOwnKeys(connection, holding, taken);
    return holding;
  };

  const giveBack = async (holding: Holding, gone: readonly HeldLock[]): Promise<void> => {
    if (gone.length === 0) return;
    holding.stopWatching(gone.map(({ key }) => key));
    try {
      await deleteLocks(connection, gone);
    } catch (error) {
      connection.untilDone(holding.session, () => deleteLocks(connection, gone));
      throw asClusterError(error, 'the locks could not be given back yet');
    }
  };

  const shrink = async (given: Grant, identities: readonly string[]): Promise<Grant> => {
    const holding = holdingOf(given);
    holding.requireHeld();
    await withdrawn(connection, holding);
    const goes = [...holding.locks].filter(([identity]) => identities.includes(identity));
    for (const [identity] of goes) holding.locks.delete(identity);
    await giveBack(
      holding,
      goes.map(([, lock]) => lock),
    );
    return grantOf(holding);
  };

  return {
    async acquire(owner, requests, { signal, state }) {
      const before = state === undefined ? undefined : await readState(connection, state, requests);
      const holding = await take(owner, requests, signal);
      if (before === undefined) return grantOf(holding);
      const locks = [...holding.locks.values()];
      try {
        await requireUntouched(connection, before, locks, signal);
      } catch (error) {
        holding.move('ended');
        await giveBack(holding, locks).catch(() => undefined); // Then it is done later.
        throw error;
      }
      return grantOf(holding);
    },
    async release(given) {
      const holding = holdingOf(given);
      if (holding.state !== 'held' && holding.state !== 'suspended') return;
      const held = holding.state === 'held' ? [...holding.locks.values()] : [];
      const offers = [...holding.offers].map((name) => keys.offer(name));
      forgetPause(holding);
      holding.move('ended');
      // Without the locks an offer is worth nothing: it may go a moment later, or with the session.
      if (offers.length > 0) void deleteKeys(connection, offers).catch(() => undefined);
      if (holding.loss === undefined) return giveBack(holding, held);
      // Nothing runs by it any more, and it ends with its lease anyway: so nobody waits for an etcd that does not answer.
      const back = giveBack(holding, held).catch(() => undefined);
      await Promise.race([back, new Promise((resolve) => setTimeout(resolve, lostReleaseMsMax))]);
    },
    async holders(resource) {
      try {
        const client = await connection.client();
        const { kvs } = await client.range(keys.held(clusterIdentity(resource, connection.hostId)));
        return kvs.map((kv) => {
          const key = kv.key.toString('utf8');
          return holderOf(kv, keys.parseLock(key) ?? { identity: '', mode: 'exclusive', holder: key });
        });
      } catch (error) {
        throw asClusterError(error, `etcd could not be asked who holds ${resource.label}`);
      }
    },
    async extend(given, owner, requests, { signal }) {
      const holding = holdingOf(given);
      holding.requireHeld();
      const twice = requests.find(({ resource }) => holding.locks.has(resource.identity));
      if (twice !== undefined) {
        throw new HoldfastError('USAGE', `${twice.resource.label} is part of this grant already`);
      }
      refuseIfAborted(signal);
      const { session, taken } = await takeInTurn(connection, queue, owner, requests, signal);
      if (session !== holding.session || holding.loss !== undefined || holding.state !== 'held') {
        await giveBack(holding, taken);
        holding.requireHeld();
        throw new HoldfastError('LOST', 'the lease under which the rest is held is gone');
      }
      holding.add(taken);
      watchOwnKeys(connection, holding, taken);
      return grantOf(holding);
    },
    shrink,
    async reserve(given, identities) {
      if (settings.reserveMs === 0) return shrink(given, identities);
      const holding = holdingOf(given);
      holding.requireHeld();
      await withdrawn(connection, holding);
      await reserve(connection, holding, identities);
      return grantOf(holding);
    },
    suspend: (given) => suspend(connection, holdingOf(given)),
    async resume(given, { signal }) {
      refuseIfAborted(signal);
      const holding = holdingOf(given);
      await resume(connection, holding, signal);
      watchOwnKeys(connection, holding, [...holding.locks.values()]);
      return grantOf(holding);
    },
    offer: (given) => offer(connection, holdingOf(given)),
    async accept(given, owner, { signal, state }) {
      refuseIfAborted(signal);
      return grantOf(await accept(connection, given, owner, { signal, state }));
    },
    cancel: (given, offered) => cancel(connection, holdingOf(given), offered),
    inquire: async (given) => inquire(connection, holdingOf(given)),
    async adopt(owner, requests) {
      return grantOf(await adopt(connection, owner, requests));
    },
    breakLock: (resource, evidence, proof) => breakLock(connection, resource, evidence, proof),
    examine: () => examine(connection),
    clusterHolds: () => clusterHolds(connection),
    async wait(owner, requests, { signal }) {
      refuseIfAborted(signal);
      if (requests.length === 0) return;
      const ticket = queue.use(await connection.session(), owner, requests);
      try {
        await queue.wait(ticket, owner, requests, signal);
      } finally {
        queue.leave(ticket);
      }
    },
    mapRequest,
    async probe(requests) {
      const wanted = wantedBy(connection, requests);
      const needed = 1 + wanted.flatMap((one) => guard(keys, one, 'nobody waits').compare).length;
      const error = needed > settings.maxOperations ? tooMany(needed, settings.maxOperations) : undefined;
      try {
        const [{ blockers }] = await Promise.all([lookFor(connection, wanted), connection.lookAtVersion()]);
        return wanted.map((one) => {
          const inTheWay = blockers.filter(({ wanted: blocked }) => blocked === one);
          const holders = inTheWay.map(({ kv, lock }) => holderOf(kv, lock));
          const free = holders.length === 0 && error === undefined;
          const why = error !== undefined && holders.length === 0 ? { error } : {};
          return { identity: one.request.resource.identity, free, holders, ...why };
        });
      } catch (thrown) {
        throw asClusterError(thrown, 'etcd could not be asked');
      }
    },
    notes: () => connection.notes,
    async end() {
      queue.end();
      await connection.end();
    },
  };
}

function mapRequest({ resource, mode }: LockRequest): MappedRequest {
  if (resource.unknownFileSystem === undefined) return { can: true, mode };
  return {
    can: false,
    reason: `nobody knows whether other hosts reach the same file system (${resource.unknownFileSystem}), and under which name`,
    remedy: 'If it belongs to this host alone, name its type in `local_file_systems` of the configuration.',
  };
}

async function withdrawn(connection: Connection, holding: Holding): Promise<void> {
  try {
    await withdrawOffers(connection, holding);
  } catch (error) {
    throw asClusterError(error, 'the offer could not be taken back');
  }
}

function refuseIfAborted(signal: AbortSignal): void {
  if (!signal.aborted) return;
  throw new HoldfastError('ABORTED', 'the caller gave up; nothing is locked', { cause: signal.reason });
}
