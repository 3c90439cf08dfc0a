/** Watches the keys of a holding: one that somebody else deleted or wrote is a lock that is lost, at once. */
import type { Connection } from './connection.js';
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
  for (const lock of locks.filter((one) => isHeld(holding, one))) {
    const { key, revision } = lock;
    const stop = client.watch(
      { key, startRevision: revision + 1 },
      {
        onPut: () => lose(holding, lock, 'somebody else has written its key in etcd'),
        onDelete: (_, at) => void deleted(connection, holding, lock, at),
        onGap: () => void checkAgain(connection, holding, lock),
      },
    );
    holding.whileHeld(key, stop);
  }
}

function isHeld(holding: Holding, lock: HeldLock): boolean {
  return holding.state === 'held' && holding.locks.get(lock.request.resource.identity) === lock;
}

function lose(holding: Holding, lock: HeldLock, reason: string): void {
  if (isHeld(holding, lock)) holding.lose({ reason, resources: [lock.request.resource.label] });
}

async function deleted(
  connection: Connection,
  holding: Holding,
  lock: HeldLock,
  revision: number,
): Promise<void> {
  if (!isHeld(holding, lock)) return;
  if (holding.offers.size > 0 && (await wasHandedOver(connection, holding))) {
    holding.move('handed over');
    return;
  }
  const broken = await brokenBecause(connection, lock.identity, revision);
  lose(
    holding,
    lock,
    broken === undefined
      ? 'somebody else has deleted its key in etcd, or its lease is over'
      : `its lock was broken: ${broken}`,
  );
}

/** An offer that is gone and was not taken back was accepted. One that cannot be looked at counts as still there. */
async function wasHandedOver(connection: Connection, holding: Holding): Promise<boolean> {
  const client = await connection.client();
  for (const offer of holding.offers) {
    const found = await client
      .range({ key: connection.keys.offer(offer), countOnly: true })
      .catch(() => undefined);
    if (found?.count === 0 && holding.offers.has(offer)) return true;
  }
  return false;
}

/** What happened to it is compacted: what counts is whether it is there, as it was put. */
async function checkAgain(connection: Connection, holding: Holding, lock: HeldLock): Promise<void> {
  const found = await (
    await connection.client()
  )
    .range({ key: lock.key, keysOnly: true })
    .catch(() => undefined);
  // Nothing can be said: the watch goes on, and the lease has its own end.
  if (found === undefined || found.kvs[0]?.modRevision === lock.revision) return;
  lose(holding, lock, 'its key in etcd is gone');
}
