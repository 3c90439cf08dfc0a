/** Takes locks in one transaction, and finds out what became of it where etcd did not say. */
import { HoldfastError } from '../../errors.js';
import type { LockRequest, Owner } from '../../vocabulary.js';
import { asClusterError, EtcdFailure } from './client/etcd-failure.js';
import type { Compare, Operation, TxnRequest, TxnResponse } from './client/messages.js';
import type { Connection } from './connection.js';
import type { HeldLock } from './holding.js';
import { clusterIdentity, holderInKey } from './keys.js';
import { ownerFields, parseRecord, recordText } from './lock-record.js';
import {
  guard,
  isMissing,
  isUnchanged,
  lockTransaction,
  type Blocker,
  type Turn,
  type Wanted,
} from './lock-transaction.js';
import { lookFor } from './look-for.js';
import type { Session } from './session/open-session.js';

export interface Order {
  readonly owner: Owner;
  readonly wanted: readonly Wanted[];
  readonly turn: (identity: string) => Turn;
  /** Keys of the same owner that become these locks, by identity: they are in nobody's way. */
  readonly own?: ReadonlyMap<string, string>;
  readonly also?: readonly Compare[];
  readonly besides?: readonly Operation[];
}

/** Blockers are those of a moment later: there may be none any more. */
export type Outcome =
  | { readonly taken: readonly HeldLock[] }
  | { readonly blockers: readonly Blocker[]; readonly revision: number };

/** What requests are called in the cluster. */
export function wantedBy({ hostId }: Connection, requests: readonly LockRequest[]): readonly Wanted[] {
  return requests.map((request) => ({ request, identity: clusterIdentity(request.resource, hostId) }));
}

/**
 * Takes all or none, under `session`. Throws `CLUSTER_...`; an `EtcdFailure` whose lease is gone, for who can use another
 * session. After an error nothing is held, or it will be given back as soon as etcd answers.
 */
export async function takeLocks(connection: Connection, session: Session, order: Order): Promise<Outcome> {
  const { keys, settings } = connection;
  const { wanted, turn, own } = order;
  const holder = connection.newHolder(session);
  const common = JSON.stringify(ownerFields(order.owner, holder));
  const placed = wanted.map(({ request, identity }) => ({
    request,
    identity,
    key: keys.lock({ identity, mode: request.mode, holder: holderInKey(request.mode, holder) }),
  }));
  const lock = {
    wanted,
    guards: wanted.map((one) => guard(keys, one, turn(one.identity), own?.get(one.identity))),
    puts: placed.map(({ key, request }) => ({
      put: { key, value: recordText(common, request), lease: session.leaseId },
    })),
    also: [isMissing(keys.voided(holder)), ...(order.also ?? [])],
    // What is written anew is not deleted as well: etcd refuses two changes of one key.
    besides: (order.besides ?? []).filter(({ delete: one }) => !placed.some(({ key }) => key === one?.key)),
  };
  const txn = lockTransaction(lock, settings.maxOperations);
  const put = placed.map(({ key }) => key);
  const answer = await decided(connection, session, { txn, holder, put });
  const revision = answer.header?.revision ?? 0;
  if (answer.succeeded) return { taken: placed.map((one) => ({ ...one, revision })) };
  const { blockers } = await lookFor(connection, wanted);
  return {
    blockers: blockers.filter(
      ({ wanted: one, lock: { mode } }) => mode !== 'waiting' || turn(one.identity) !== 'anyone',
    ),
    revision,
  };
}

interface Attempt {
  readonly txn: TxnRequest;
  readonly holder: string;
  /** The keys that it puts. */
  readonly put: readonly string[];
}

/**
 * The answer of a transaction. One that was sent and not answered can still be done, at any time: so it is made void by a key
 * that it demands to be missing, and what is there after that has been done before.
 */
async function decided(connection: Connection, session: Session, attempt: Attempt): Promise<TxnResponse> {
  const client = await connection.client();
  try {
    return await client.txn(attempt.txn);
  } catch (error) {
    if (!(error instanceof EtcdFailure)) throw error;
    if (error.leaseGone) throw error;
    if (error.outcome !== 'unknown') throw asClusterError(error, 'the locks could not be taken');
    const done = await madeVoid(connection, session, attempt).catch((again: unknown) => {
      // Without the lease it cannot be done any more either, and what it has done is gone.
      if (again instanceof EtcdFailure && again.leaseGone) throw again;
      connection.untilDone(session, () => takeBack(connection, session, attempt));
      throw asClusterError(again, 'the locks could not be taken');
    });
    if (done !== undefined) return done;
    throw asClusterError(error, 'the locks could not be taken');
  }
}

/** Undefined: it was not done, and never will be. */
async function madeVoid(
  connection: Connection,
  session: Session,
  { holder, put }: Attempt,
): Promise<TxnResponse | undefined> {
  const client = await connection.client();
  const [first] = put;
  const answer = await client.idempotentTxn({
    compare: [],
    success: [
      { put: { key: connection.keys.voided(holder), value: '', lease: session.leaseId } },
      ...(first === undefined ? [] : [{ range: { key: first } }]),
    ],
    failure: [],
  });
  const [found] = answer.responses[1]?.range?.kvs ?? [];
  if (found === undefined || answer.header === undefined) return undefined;
  if (parseRecord(found.value)?.holder !== holder) return undefined;
  return { header: { ...answer.header, revision: found.modRevision }, succeeded: true, responses: [] };
}

async function takeBack(connection: Connection, session: Session, attempt: Attempt): Promise<void> {
  const done = await madeVoid(connection, session, attempt);
  const revision = done?.header?.revision;
  if (revision !== undefined) {
    await deleteLocks(
      connection,
      attempt.put.map((key) => ({ key, revision })),
    );
  }
}

/**
 * Gives locks back. One that is gone already is no error, and what somebody else has by now under the same key stays.
 * Throws `EtcdFailure`.
 */
export async function deleteLocks(
  connection: Connection,
  locks: readonly Pick<HeldLock, 'key' | 'revision'>[],
): Promise<void> {
  const client = await connection.client();
  const { maxOperations } = connection.settings;
  for (let at = 0; at < locks.length; at += maxOperations) {
    const part = locks.slice(at, at + maxOperations);
    const { succeeded } = await client.idempotentTxn({
      compare: part.map(({ key, revision }) => isUnchanged(key, revision)),
      success: part.map(({ key }) => ({ delete: { key } })),
      failure: [],
    });
    if (!succeeded && part.length > 1) for (const one of part) await deleteLocks(connection, [one]);
  }
}

/** Of keys that have a name of their own: that one is gone already is no error. Throws `EtcdFailure`. */
export async function deleteKeys(connection: Connection, keys: readonly string[]): Promise<void> {
  const client = await connection.client();
  const { maxOperations } = connection.settings;
  for (let at = 0; at < keys.length; at += maxOperations) {
    const success = keys.slice(at, at + maxOperations).map((key) => ({ delete: { key } }));
    await client.idempotentTxn({ compare: [], success, failure: [] });
  }
}

/**
 * Does `step` with the session; once more with a new one if etcd says that the lease is gone, which the session itself has
 * not noticed yet.
 */
export async function withSession<Result>(
  connection: Connection,
  step: (session: Session) => Promise<Result>,
): Promise<Result> {
  const session = await connection.session();
  try {
    return await step(session);
  } catch (error) {
    if (!(error instanceof EtcdFailure && error.leaseGone)) throw error;
    connection.forget(session);
  }
  try {
    return await step(await connection.session());
  } catch (error) {
    if (!(error instanceof EtcdFailure)) throw error;
    throw new HoldfastError('DRIVER_FAILED', 'etcd ends the lease as soon as it is granted', {
      cause: error,
      remedy: 'See the clocks and the load of the servers; nothing was locked.',
    });
  }
}
