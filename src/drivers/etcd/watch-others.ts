/**
 * Who else had locks during a time of which the beginning is known by its revision. It is complete when it shows the keys with which the
 * locks were taken at its end.
 */
import { HoldfastError } from '../../errors.js';
import { compatible, type Mode } from '../../vocabulary.js';
import type { Connection } from './connection.js';
import type { HeldLock } from './holding.js';
import { isOf, parseRecord } from './lock-record.js';

/** What was seen of one identity in that time. */
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

export interface OthersSeen {
  readonly seen: ReadonlyMap<string, Seen>;
  /** Revisions of our own tries to take them again. */
  readonly own: Set<number>;
  readonly waiting: Set<() => void>;
  readonly stop: () => void;
}

/** One that was taken so often is lost however often it was. */
const takenMax = 100;

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

/** @param giver who may have had it as well: what he puts is not looked at. */
export async function watchOthers(
  connection: Connection,
  locks: readonly HeldLock[],
  startRevision: (lock: HeldLock) => number,
  giver?: Parameters<typeof isOf>[1],
): Promise<OthersSeen> {
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
        onPut({ key, value, modRevision }) {
          const mode = keys.parseLock(key.toString('utf8'))?.mode as Mode | undefined;
          const isGivers = giver !== undefined && isOf(parseRecord(value), giver);
          const keptOut = !isGivers && (mode === undefined || !compatible(request.mode, mode));
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
export function trouble({ seen, own }: OthersSeen, until = Infinity): string | undefined {
  for (const { label, taken, gap } of seen.values()) {
    if (taken.some((revision) => revision <= until && !own.has(revision)))
      return `somebody else had ${label} meanwhile`;
    if (gap) return `nobody knows whether somebody had ${label} meanwhile: etcd has forgotten that time`;
  }
  return undefined;
}

/** Our own keys are the last that the watch has to show: in one revision all of them, or in one each. */
export function seenUpTo(
  pause: OthersSeen,
  revision: number | ReadonlyMap<string, number>,
  ms: number,
  signal: AbortSignal,
): Promise<void> {
  const upToOf = (identity: string): number =>
    typeof revision === 'number' ? revision : (revision.get(identity) ?? 0);
  return new Promise((resolve, reject) => {
    const end = (): void => {
      clearTimeout(timer);
      pause.waiting.delete(look);
      signal.removeEventListener('abort', abort);
    };
    const look = (): void => {
      const isSeen = ([identity, { upTo, gapsInDoubt }]: [string, Seen]): boolean =>
        upTo >= upToOf(identity) && gapsInDoubt === 0;
      if (![...pause.seen].every(isSeen)) return;
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
