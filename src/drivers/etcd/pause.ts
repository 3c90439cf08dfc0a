/**
 * A guest that is paused gives its locks back, and takes them again if nobody else had them meanwhile. That is seen by a watch
 * of the time between, which is complete when it shows the keys with which they were taken again.
 */
import { HoldfastError } from '../../errors.js';
import { compatible, type Mode } from '../../vocabulary.js';
import { asClusterError } from './client/etcd-failure.js';
import type { Connection } from './connection.js';
import { withdrawOffers } from './handover.js';
import { ended, type HeldLock, type Holding } from './holding.js';
import { inUse } from './lock-transaction.js';
import { deleteLocks, takeLocks, withSession } from './take-locks.js';

/** What was seen of one identity during a pause. */
interface Seen {
  readonly label: string;
  /** Revisions in which somebody took it in a mode that kept us out. */
  readonly taken: number[];
  /** A part of the time is not known: etcd has compacted it. */
  gap: boolean;
  /** Up to this revision it has been looked at. */
  upTo: number;
}

interface Pause {
  readonly seen: ReadonlyMap<string, Seen>;
  /** Revisions of our own tries to take them again. */
  readonly own: Set<number>;
  readonly waiting: Set<() => void>;
  readonly stop: () => void;
}

/** One that was taken so often is lost however often it was. */
const takenMax = 100;

const pauses = new WeakMap<Holding, Pause>();

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
    pauses.set(holding, await watchOthers(connection, locks, (now.header?.revision ?? 0) + 1));
    holding.move('suspended');
    await giveBack();
  } catch (error) {
    if (holding.state === 'suspended') connection.untilDone(holding.session, giveBack);
    throw asClusterError(error, 'the locks of the paused guest could not be given back');
  }
}

/** Throws `LOST`, after which nothing is held any more; `ABORTED`, `CLUSTER_...`, after which it can be tried again. */
export async function resume(connection: Connection, holding: Holding, signal: AbortSignal): Promise<void> {
  const pause = pauses.get(holding);
  if (holding.state !== 'suspended' || pause === undefined) {
    throw ended(`this grant is ${holding.state}, not suspended`);
  }
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
      // Who waits has not had it: a guest that goes on comes before.
      const outcome = await takeLocks(connection, session, { owner, wanted, turn: () => 'anyone' });
      if ('blockers' in outcome) throw giveUp(inUse(outcome.blockers, wanted).message);
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
      holding.moveTo(session);
      holding.add(taken);
      holding.move('held');
    });
    forgetPause(holding);
  } catch (error) {
    throw asClusterError(error, 'the locks of the paused guest could not be taken again');
  }
}

export function forgetPause(holding: Holding): void {
  pauses.get(holding)?.stop();
  pauses.delete(holding);
}

async function watchOthers(
  connection: Connection,
  locks: readonly HeldLock[],
  startRevision: number,
): Promise<Pause> {
  const client = await connection.client();
  const { keys } = connection;
  const waiting = new Set<() => void>();
  const seen = new Map<string, Seen>();
  const stops = locks.map(({ identity, request }) => {
    const one: Seen = { label: request.resource.label, taken: [], gap: false, upTo: 0 };
    seen.set(identity, one);
    const arrived = (): void => {
      for (const look of waiting) look();
    };
    return client.watch(
      { ...keys.held(identity), startRevision },
      {
        onPut({ key, modRevision }) {
          const mode = keys.parseLock(key.toString('utf8'))?.mode as Mode | undefined;
          const keptOut = mode === undefined || !compatible(request.mode, mode);
          if (keptOut && one.taken.length < takenMax) one.taken.push(modRevision);
          one.upTo = modRevision;
          arrived();
        },
        onGap(revision) {
          one.gap = true;
          one.upTo = revision;
          arrived();
        },
      },
    );
  });
  const stop = (): void => {
    for (const end of stops) end();
  };
  return { seen, own: new Set(), waiting, stop };
}

/** Why it cannot be said that nobody had them; undefined: nobody had. */
function trouble({ seen, own }: Pause): string | undefined {
  for (const { label, taken, gap } of seen.values()) {
    if (taken.some((revision) => !own.has(revision))) return `somebody else had ${label} during the pause`;
    if (gap)
      return `nobody knows whether somebody had ${label} during the pause: etcd has forgotten that time`;
  }
  return undefined;
}

/** Our own keys are the last that the watch has to show. */
function seenUpTo(pause: Pause, revision: number, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      pause.waiting.delete(look);
      signal.removeEventListener('abort', abort);
    };
    const look = (): void => {
      if ([...pause.seen.values()].some(({ upTo }) => upTo < revision)) return;
      end();
      resolve();
    };
    const abort = (): void => {
      end();
      reject(new HoldfastError('ABORTED', 'the caller gave up; nothing is locked', { cause: signal.reason }));
    };
    const timer = setTimeout(() => {
      end();
      reject(new HoldfastError('CLUSTER_UNREACHABLE', 'etcd does not tell what happened during the pause'));
    }, ms);
    pause.waiting.add(look);
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    else look();
  });
}
