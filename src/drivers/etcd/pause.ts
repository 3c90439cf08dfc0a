/**
 * A guest that is paused gives its locks back, and takes them again if nobody else had them meanwhile. That is seen by a watch
 * of the time between, which is complete when it shows the keys with which they were taken again. So does one whose locks were
 * lost: the time between begins then with the revision in which it took them.
 */
import { HoldfastError } from '../../errors.js';
import { compatible, type Mode } from '../../vocabulary.js';
import { asClusterError } from './client/etcd-failure.js';
import type { Connection } from './connection.js';
import { withdrawOffers } from './handover.js';
import { ended, type HeldLock, type Holding } from './holding.js';
import { inUse, isUnchanged } from './lock-transaction.js';
import { deleteLocks, takeLocks, withSession } from './take-locks.js';

/** What was seen of one identity during a pause. */
interface Seen {
  readonly label: string;
  /** Revisions in which somebody took it in a mode that kept us out. */
  readonly taken: number[];
  /** A part of the time is not known: etcd has compacted it. */
  gap: boolean;
  /** So many parts of the time are being looked at: what etcd has compacted there may not matter. */
  gapsInDoubt: number;
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
    const from = (now.header?.revision ?? 0) + 1;
    pauses.set(holding, await watchOthers(connection, locks, () => from));
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
          ({ kv }) => !left.some(({ key }) => key === kv.key.toString()),
        );
        if (others.length > 0) throw giveUp(inUse(others, wanted).message);
        throw new HoldfastError('CLUSTER_UNREACHABLE', 'the lease of before has ended at this very moment');
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

export function forgetPause(holding: Holding): void {
  pauses.get(holding)?.stop();
  pauses.delete(holding);
}

/** The pause of a holding that is suspended, or lost: of one that is lost it begins now, and looks back. */
async function pauseOf(connection: Connection, holding: Holding): Promise<Pause> {
  const { state, loss } = holding;
  const known = pauses.get(holding);
  if (known !== undefined && (state === 'suspended' || loss !== undefined)) return known;
  if (state !== 'held' || loss === undefined)
    throw ended(`this grant is ${state}, and neither suspended nor lost`);
  try {
    const pause = await watchOthers(connection, [...holding.locks.values()], ({ revision }) => revision + 1);
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

/** Whether a lock was as it was taken in that revision, of which etcd knows still. */
async function wasHeldAt(connection: Connection, { key, revision }: HeldLock, at: number): Promise<boolean> {
  try {
    const { kvs } = await (await connection.client()).range({ key, keysOnly: true, revision: at });
    return kvs[0]?.modRevision === revision;
  } catch {
    return false;
  }
}

/** A lock that was still there at the end of the gap was nobody else's in it. */
async function closeGap(connection: Connection, lock: HeldLock, seen: Seen, revision: number): Promise<void> {
  seen.gapsInDoubt += 1;
  const was = await wasHeldAt(connection, lock, revision);
  seen.gapsInDoubt -= 1;
  seen.gap ||= !was;
  seen.upTo = Math.max(seen.upTo, revision);
}

async function watchOthers(
  connection: Connection,
  locks: readonly HeldLock[],
  startRevision: (lock: HeldLock) => number,
): Promise<Pause> {
  const client = await connection.client();
  const { keys } = connection;
  const waiting = new Set<() => void>();
  const seen = new Map<string, Seen>();
  const stops = locks.map((lock) => {
    const { identity, request } = lock;
    const one: Seen = { label: request.resource.label, taken: [], gap: false, gapsInDoubt: 0, upTo: 0 };
    seen.set(identity, one);
    const arrived = (): void => {
      for (const look of waiting) look();
    };
    return client.watch(
      { ...keys.held(identity), startRevision: startRevision(lock) },
      {
        onPut({ key, modRevision }) {
          const mode = keys.parseLock(key.toString('utf8'))?.mode as Mode | undefined;
          const keptOut = mode === undefined || !compatible(request.mode, mode);
          if (keptOut && one.taken.length < takenMax) one.taken.push(modRevision);
          one.upTo = modRevision;
          arrived();
        },
        onGap(revision) {
          void closeGap(connection, lock, one, revision).then(arrived);
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
    if (taken.some((revision) => !own.has(revision))) return `somebody else had ${label} meanwhile`;
    if (gap) return `nobody knows whether somebody had ${label} meanwhile: etcd has forgotten that time`;
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
      if ([...pause.seen.values()].some(({ upTo, gapsInDoubt }) => upTo < revision || gapsInDoubt > 0))
        return;
      end();
      resolve();
    };
    const abort = (): void => {
      end();
      reject(new HoldfastError('ABORTED', 'the caller gave up; nothing is locked', { cause: signal.reason }));
    };
    const timer = setTimeout(() => {
      end();
      reject(new HoldfastError('CLUSTER_UNREACHABLE', 'etcd does not tell what happened meanwhile'));
    }, ms);
    pause.waiting.add(look);
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    else look();
  });
}
