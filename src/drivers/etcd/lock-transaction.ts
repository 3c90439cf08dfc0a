/**
 * The one transaction that takes all locks of a guest or none, and what its answer says.
 *
 * Invariant: it succeeds only if, in the revision in which its keys appear, nobody has any of the identities in another mode
 * (or at all, for `exclusive`), and nobody waits who came before.
 */
import { HoldfastError } from '../../errors.js';
import type { Holder, LockRequest, Mode } from '../../vocabulary.js';
import {
  compareResult,
  compareTarget,
  type Compare,
  type KeyValue,
  type Operation,
  type TxnRequest,
  type TxnResponse,
} from './client/messages.js';
import type { Keys, KeyRange, LockKey } from './keys.js';
import { holderOf } from './lock-record.js';

/** A request with what it is called in the cluster. */
export interface Wanted {
  readonly request: LockRequest;
  readonly identity: string;
}

/**
 * Who of those that wait comes first:
 * - `nobody waits`: who wants it now stands behind everyone who waits; so nobody may.
 * - a revision: since when it has been waiting itself; somebody waits, and all of them came later.
 * - `anyone`: those who wait do not matter (a handover, or a guest that goes on).
 */
export type Turn = 'nobody waits' | 'anyone' | number;

/** Holds if a range has no keys. */
export function isEmpty({ key, rangeEnd }: KeyRange): Compare {
  return {
    result: compareResult.equal,
    target: compareTarget.version,
    key,
    rangeEnd,
    version: 0,
  };
}

/** Holds if a key is not there. */
export function isMissing(key: string): Compare {
  return { result: compareResult.equal, target: compareTarget.version, key, version: 0 };
}

/** Holds if a key is there and was last written in that revision. */
export function isUnchanged(key: string, modRevision: number): Compare {
  return { result: compareResult.equal, target: compareTarget.mod, key, modRevision };
}

/** The ranges that are in the way, and the compares that say that nobody is. `except`: a key that does not count. */
export function guard(
  keys: Keys,
  { request, identity }: Wanted,
  turn: Turn,
  except?: string,
): { readonly compare: readonly Compare[]; readonly ranges: readonly KeyRange[] } {
  const whole = keys.inTheWay(identity, request.mode, turn === 'nobody waits');
  const ranges = except === undefined ? whole : whole.flatMap((range) => around(range, except));
  const compare = ranges.map(isEmpty);
  if (typeof turn !== 'number') return { compare, ranges };
  const { key, rangeEnd } = keys.waiting(identity);
  const createRevision = turn - 1;
  const { greater: result } = compareResult;
  return {
    compare: [...compare, { result, target: compareTarget.create, key, rangeEnd, createRevision }],
    ranges: [...ranges, { key, rangeEnd }],
  };
}

/** The range without one key: what is before it, and what is behind it. */
function around(range: KeyRange, except: string): readonly KeyRange[] {
  if (except < range.key || except >= range.rangeEnd) return [range];
  return [
    { key: range.key, rangeEnd: except },
    { key: `${except}\0`, rangeEnd: range.rangeEnd },
  ];
}

export interface LockOrder {
  readonly wanted: readonly Wanted[];
  readonly guards: readonly { readonly compare: readonly Compare[]; readonly ranges: readonly KeyRange[] }[];
  /** The keys that become the locks, with their values. */
  readonly puts: readonly Operation[];
  /** What else has to hold. */
  readonly also: readonly Compare[];
  /** What else is done with it. */
  readonly besides: readonly Operation[];
}

/** Throws `CLUSTER_LIMIT` for more than etcd takes: it is never split, because a part of a guest's locks is none. */
export function lockTransaction(order: LockOrder, operationsMax: number): TxnRequest {
  const compare = [...order.also, ...order.guards.flatMap((one) => one.compare)];
  const success = [...order.puts, ...order.besides];
  const operations = Math.max(compare.length, success.length);
  if (operations > operationsMax) throw tooMany(operations, operationsMax);
  // Who is in the way is asked when somebody is: what is sent with each transaction costs each of them time.
  return { compare, success, failure: [] };
}

export function tooMany(operations: number, operationsMax: number): HoldfastError {
  return new HoldfastError(
    'CLUSTER_LIMIT',
    `the locks need ${operations} operations in one transaction, and etcd takes ${operationsMax}`,
    {
      remedy: 'Lock fewer disks, or raise --max-txn-ops of every etcd and `max_operations` in [driver.etcd].',
    },
  );
}

/** Something that is in the way of a request. */
export interface Blocker {
  readonly wanted: Wanted;
  readonly kv: KeyValue;
  readonly lock: LockKey;
}

/** What is in the way, from the answer of a transaction that did not succeed. */
export function blockersIn(
  keys: Keys,
  order: Pick<LockOrder, 'wanted' | 'guards'>,
  { responses }: TxnResponse,
): readonly Blocker[] {
  const blockers: Blocker[] = [];
  let at = 0;
  for (const [n, { ranges }] of order.guards.entries()) {
    const wanted = order.wanted[n];
    const kvs = responses.slice(at, at + ranges.length).flatMap(({ range }) => range?.kvs ?? []);
    at += ranges.length;
    if (wanted === undefined) continue;
    for (const kv of kvs) {
      const lock = keys.parseLock(kv.key.toString('utf8'));
      // A key that nobody of us made is in the way all the same.
      const unknown: LockKey = {
        identity: wanted.identity,
        mode: 'exclusive',
        holder: kv.key.toString('utf8'),
      };
      blockers.push({ wanted, kv, lock: lock ?? unknown });
    }
  }
  return blockers;
}

const askedFor: Readonly<Record<Mode, string>> = {
  exclusive: 'you asked for it exclusively',
  shared: 'you asked for it shared',
  read: 'you asked for it to read',
  part: 'something inside it is asked for',
};

/** `IN_USE` for the first request that somebody is in the way of. */
export function inUse(blockers: readonly Blocker[], wanted: readonly Wanted[]): HoldfastError {
  const locked = blockers.find(({ lock }) => lock.mode !== 'waiting');
  const first = locked ?? blockers[0];
  const request = first?.wanted.request ?? wanted[0]?.request;
  if (request === undefined) return new HoldfastError('INTERNAL', 'nothing was asked for, and refused');
  const { label } = request.resource;
  const holders: readonly Holder[] = blockers
    .filter((one) => one.wanted === first?.wanted && (locked === undefined || one.lock.mode !== 'waiting'))
    .map(({ kv, lock }) => holderOf(kv, lock));
  const message =
    locked === undefined && first !== undefined
      ? `${label} is free, but others wait for it and come first`
      : `${label} is in use (${askedFor[request.mode]})`;
  return new HoldfastError('IN_USE', message, { resource: label, mode: request.mode, holders });
}
