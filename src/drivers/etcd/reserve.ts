/**
 * Locks that are given back, and kept for the same guest for a moment: libvirt gives back at the source of a migration before it
 * takes at the destination. Their keys stay where they are, under the lease of who had them, and say so; only an owner with the
 * same uuid may put its own in their place, in the transaction that finds them unchanged.
 */
import type { Owner } from '../../vocabulary.js';
import { asClusterError } from './client/etcd-failure.js';
import type { Connection } from './connection.js';
import type { HeldLock, Holding } from './holding.js';
import { ownerFields, parseRecord, type LockRecord } from './lock-record.js';
import { isUnchanged, type Blocker } from './lock-transaction.js';
import { deleteLocks, type Order } from './take-locks.js';

/** Gives back some identities of a holding that is held. Throws `CLUSTER_...`; then they are given back later. */
export async function reserve(
  connection: Connection,
  holding: Holding,
  identities: readonly string[],
): Promise<void> {
  const { session, owner } = holding;
  const { reserveMs } = connection.settings;
  const goes = [...holding.locks.values()].filter(({ request }) =>
    identities.includes(request.resource.identity),
  );
  if (goes.length === 0) return;
  holding.stopWatching(goes.map(({ key }) => key));
  for (const { request } of goes) holding.locks.delete(request.resource.identity);
  const holder = connection.newHolder(session);
  const until = new Date(Date.now() + reserveMs).toISOString().replace(/\.\d+Z$/, 'Z');
  const common = ownerFields(owner, holder);
  const value = ({ request: { mode, resource } }: HeldLock): string =>
    JSON.stringify({ ...common, mode, label: resource.label, reservedUntil: until } satisfies LockRecord);
  const drop = (): Promise<void> => dropReserved(connection, goes, holder);
  try {
    const client = await connection.client();
    const { succeeded } = await client.idempotentTxn({
      compare: goes.map(({ key, revision }) => isUnchanged(key, revision)),
      success: goes.map((lock) => ({ put: { key: lock.key, value: value(lock), lease: session.leaseId } })),
      failure: [],
    });
    // Somebody has broken one of them, and none is kept; unless this was a second try, which finds what the first has written.
    if (!succeeded && !(await isWritten(connection, goes, holder))) await drop();
  } catch (error) {
    connection.untilDone(session, drop);
    throw asClusterError(error, 'the locks could not be given back yet');
  }
  const timer = setTimeout(() => {
    if (!connection.ended) void drop().catch(() => connection.untilDone(session, drop));
  }, reserveMs);
  timer.unref();
}

/** Whether all of them say what we wrote. */
async function isWritten(
  connection: Connection,
  locks: readonly HeldLock[],
  holder: string,
): Promise<boolean> {
  const client = await connection.client();
  const found = await Promise.all(locks.map(({ key }) => client.range({ key })));
  return found.every(({ kvs: [kv] }) => kv !== undefined && parseRecord(kv.value)?.holder === holder);
}

/** Those that still say what we wrote, or what we held: what somebody has taken over since is his. */
async function dropReserved(
  connection: Connection,
  locks: readonly HeldLock[],
  holder: string,
): Promise<void> {
  const client = await connection.client();
  const found = await Promise.all(locks.map(({ key }) => client.range({ key })));
  const own = found.flatMap(({ kvs: [kv] }, index) => {
    const lock = locks[index];
    if (kv === undefined || lock === undefined) return [];
    const isOwn = parseRecord(kv.value)?.holder === holder || kv.modRevision === lock.revision;
    return isOwn ? [{ key: lock.key, revision: kv.modRevision }] : [];
  });
  await deleteLocks(connection, own);
}

/**
 * What an order has to add where everything that is in its way is reserved for its own guest: then it goes before those who
 * wait. Undefined: somebody else is in the way.
 */
export function overReserved(
  blockers: readonly Blocker[],
  owner: Owner,
  turn: Order['turn'],
): Pick<Order, 'turn' | 'own' | 'also' | 'besides'> | undefined {
  const locked = blockers.filter(({ lock }) => lock.mode !== 'waiting');
  const own = new Map(locked.map(({ wanted: { identity }, kv }) => [identity, kv.key.toString('utf8')]));
  const isFree = locked.every(({ kv }) => isReservedFor(owner, parseRecord(kv.value)));
  // More than one of an identity: several have shared it, and it is not one guest's.
  if (locked.length === 0 || own.size < locked.length || !isFree) return undefined;
  return {
    turn: (identity) => (own.has(identity) ? 'anyone' : turn(identity)),
    own,
    also: locked.map(({ kv }) => isUnchanged(kv.key.toString('utf8'), kv.modRevision)),
    besides: [...own.values()].map((key) => ({ delete: { key } })),
  };
}

function isReservedFor({ kind, uuid }: Owner, record: LockRecord | undefined): boolean {
  return kind === 'domain' && record?.reservedUntil !== undefined && record.uuid === uuid;
}
