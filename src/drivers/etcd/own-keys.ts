/** Watches the keys of a holding: one that somebody else deleted or wrote is a lock that is lost, at once. */
import type { RangeRequest, RangeResponse } from './client/messages.js';
import type { Connection } from './connection.js';
import { readOffer } from './read-offer.js';
import type { HeldLock, Holding } from './holding.js';
import { brokenBecause } from './break-lock.js';

/**
 * A watch begins with the revision of the lock, so that nothing is missed if it is only asked for a moment later; locks that
 * are given back at once then cost none.
 */
const watchAfterMs = 100;

export function watchOwnKeys(connection: Connection, holding: Holding, locks: readonly HeldLock[]): void {
  // After the end of the driver nothing is held any more, and there is no client.
  const timer = setTimeout(() => void begin(connection, holding, locks).catch(() => undefined), watchAfterMs);
  timer.unref();
}

async function begin(connection: Connection, holding: Holding, locks: readonly HeldLock[]): Promise<void> {
  const client = await connection.client();
  for (const lock of locks.filter((one) => isHeld(connection, holding, one))) {
    const { key, revision } = lock;
    const stop = client.watch(
      { key, startRevision: revision + 1 },
      {
        onPut: () => void written(connection, holding, lock),
        onDelete: (_, at) => void deleted(connection, holding, lock, at),
        onGap: () => void checkAgain(connection, holding, lock),
      },
    );
    holding.whileHeld(key, stop);
  }
}

function isHeld(connection: Connection, holding: Holding, lock: HeldLock): boolean {
  if (connection.ended || holding.state !== 'held') return false;
  return holding.locks.get(lock.request.resource.identity) === lock;
}

function lose(connection: Connection, holding: Holding, lock: HeldLock, reason: string): void {
  if (isHeld(connection, holding, lock)) holding.lose({ reason, resources: [lock.request.resource.label] });
}

/** Who accepts a handover writes the key of an exclusive lock anew. */
async function written(connection: Connection, holding: Holding, lock: HeldLock): Promise<void> {
  if (holding.offers.size > 0 && (await wasHandedOver(connection, holding))) holding.move('handed over');
  else lose(connection, holding, lock, 'somebody else has written its key in etcd');
}

async function deleted(
  connection: Connection,
  holding: Holding,
  lock: HeldLock,
  revision: number,
): Promise<void> {
  if (!isHeld(connection, holding, lock)) return;
  if (holding.offers.size > 0 && (await wasHandedOver(connection, holding))) {
    holding.move('handed over');
    return;
  }
  const broken = await brokenBecause(connection, lock.identity, revision);
  lose(
    connection,
    holding,
    lock,
    broken === undefined
      ? 'somebody else has deleted its key in etcd, or its lease is over'
      : `its lock was broken: ${broken}`,
  );
}

/** An offer that cannot be looked at counts as not accepted: a loss that is none harms less than one that is not told. */
async function wasHandedOver(connection: Connection, holding: Holding): Promise<boolean> {
  for (const offer of holding.offers) {
    const found = await look(connection, { key: connection.keys.offer(offer) });
    if (readOffer(found?.kvs[0])?.accepted === true) return true;
  }
  return false;
}

/** What happened to it is compacted: what counts is whether it is there, as it was put. */
async function checkAgain(connection: Connection, holding: Holding, lock: HeldLock): Promise<void> {
  const found = await look(connection, { key: lock.key, keysOnly: true });
  // Nothing can be said: the watch goes on, and the lease has its own end.
  if (found === undefined || found.kvs[0]?.modRevision === lock.revision) return;
  lose(connection, holding, lock, 'its key in etcd is gone');
}

/** Undefined: etcd does not answer, or the driver has ended meanwhile. */
async function look(connection: Connection, request: RangeRequest): Promise<RangeResponse | undefined> {
  try {
    return await (await connection.client()).range(request);
  } catch {
    return undefined;
  }
}
