/**
 * A guest that is paused gives its locks back, and takes them again if nobody else had them meanwhile. That is seen by a watch
 * of the time between, which is complete when it shows the keys with which they were taken again. So does one whose locks were
 * lost: the time between begins then with the revision in which it took them.
 */
import { HoldfastError } from '../../errors.js';
import { asClusterError } from './client/etcd-failure.js';
import type { KeyValue } from './client/messages.js';
import type { Connection } from './connection.js';
import { withdrawOffers } from './handover.js';
import { ended, type HeldLock, type Holding } from './holding.js';
import { isOf, parseRecord } from './lock-record.js';
import { inUse, isUnchanged } from './lock-transaction.js';
import type { Session } from './session/open-session.js';
import { deleteLocks, takeLocks, withSession } from './take-locks.js';
import { seenUpTo, trouble, watchOthers, type OthersSeen } from './watch-others.js';

const pauses = new WeakMap<Holding, OthersSeen>();

/** Throws `CLUSTER_...` if etcd does not answer; then they are given back as soon as it does. */
export async function suspend(connection: Connection, holding: Holding): Promise<void> {
  holding.requireHeld();
  const locks = [...holding.locks.values()];
  const giveBack = (): Promise<void> => deleteLocks(connection, locks);
  try {
    await withdrawOffers(connection, holding);
    // Until they are given back nobody can take them: a moment before is early enough for the watch to begin.
    const now = await (
      await connection.client()
    ).range({ key: connection.keys.session(0n), countOnly: true });
    const from = (now.header?.revision ?? 0) + 1;
    pauses.set(holding, await watchOthers(connection, locks, () => from, holding.owner));
    holding.move('suspended');
    await giveBack();
  } catch (error) {
    if (holding.state === 'suspended') connection.untilDone(holding.session, giveBack);
    throw asClusterError(error, 'the locks of the paused guest could not be given back');
  }
}

/** Throws `LOST`, after which nothing is held any more; `ABORTED`, `CLUSTER_...`, after which it can be tried again. */
export async function resume(connection: Connection, holding: Holding, signal: AbortSignal): Promise<void> {
  const pause = await pauseOf(connection, holding);
  const wanted = [...holding.locks.values()].map(({ request, identity }) => ({ request, identity }));
  const giveUp = (what: string): HoldfastError => {
    forgetPause(holding);
    holding.move('ended');
    return new HoldfastError('LOST', what, { resource: wanted[0]?.request.resource.label ?? '' });
  };
  const before = trouble(pause);
  if (before !== undefined) throw giveUp(before);
  const { owner } = holding;
  try {
    await withSession(connection, async (session) => {
      const left = holding.state === 'held' ? await leftLocks(connection, holding) : [];
      const outcome = await takeLocks(connection, session, {
        owner,
        wanted,
        // Who waits has not had it: a guest that goes on comes before.
        turn: () => 'anyone',
        own: new Map(left.map(({ identity, key }) => [identity, key])),
        also: left.map(({ key, revision }) => isUnchanged(key, revision)),
        besides: left.map(({ key }) => ({ delete: { key } })),
      });
      if ('blockers' in outcome) {
        const others = outcome.blockers.filter(
          ({ kv }) => !left.some(({ key }) => key === kv.key.toString()) && !isOwnTry(kv, holding, session),
        );
        if (others.length > 0) throw giveUp(inUse(others, wanted).message);
        throw new HoldfastError(
          'CLUSTER_UNREACHABLE',
          'the lease of before has ended at this very moment, or an earlier try is not given back yet',
        );
      }
      const { taken } = outcome;
      pause.own.add(taken[0]?.revision ?? 0);
      try {
        await seenUpTo(pause, taken[0]?.revision ?? 0, connection.settings.client.callMs, signal);
        const meanwhile = trouble(pause);
        if (meanwhile !== undefined) throw giveUp(meanwhile);
      } catch (error) {
        const giveBack = (): Promise<void> => deleteLocks(connection, taken);
        await giveBack().catch(() => connection.untilDone(session, giveBack));
        throw error;
      }
      holding.regain(session, taken);
    });
    forgetPause(holding);
  } catch (error) {
    throw asClusterError(error, 'the locks could not be taken again');
  }
}

/** Of a try that was done, and whose answer did not come: it is given back as soon as etcd answers. */
function isOwnTry({ value, lease }: KeyValue, { owner }: Holding, { leaseId }: Session): boolean {
  return lease === leaseId && isOf(parseRecord(value), owner);
}

export function forgetPause(holding: Holding): void {
  pauses.get(holding)?.stop();
  pauses.delete(holding);
}

/** The pause of a holding that is suspended, or lost: of one that is lost it begins now, and looks back. */
async function pauseOf(connection: Connection, holding: Holding): Promise<OthersSeen> {
  const { state, loss } = holding;
  const known = pauses.get(holding);
  if (known !== undefined && (state === 'suspended' || loss !== undefined)) return known;
  if (state !== 'held' || loss === undefined)
    throw ended(`this grant is ${state}, and neither suspended nor lost`);
  try {
    const pause = await watchOthers(
      connection,
      [...holding.locks.values()],
      ({ revision }) => revision + 1,
      holding.owner,
    );
    pauses.set(holding, pause);
    return pause;
  } catch (error) {
    throw asClusterError(error, 'nobody can tell yet who had the locks since they were lost');
  }
}

/** Keys of a lost holding that are still there: its lease has not ended in etcd. */
async function leftLocks(connection: Connection, holding: Holding): Promise<readonly HeldLock[]> {
  const client = await connection.client();
  const locks = [...holding.locks.values()];
  const found = await Promise.all(locks.map(({ key }) => client.range({ key, keysOnly: true })));
  return locks.filter(({ revision }, n) => found[n]?.kvs[0]?.modRevision === revision);
}
