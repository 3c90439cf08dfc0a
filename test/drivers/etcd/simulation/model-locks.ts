/** The keys and transactions of the simulated hosts: those of the driver. */
import { Keys, type LockKey } from '../../../../src/drivers/etcd/keys.js';
import { guard, isMissing, lockTransaction } from '../../../../src/drivers/etcd/lock-transaction.js';
import type { TxnRequest } from '../../../../src/drivers/etcd/client/messages.js';
import type { Mode } from '../../../../src/vocabulary.js';
import { request } from '../../../driver/named-resource.js';

const keys = new Keys('holdfast');

export function markKey(lease: bigint): string {
  return keys.session(lease);
}

export function lockKey(identity: string, mode: Mode | 'waiting', holder: string): string {
  return keys.lock({ identity, mode, holder });
}

/** What a key of `lockKey` says; undefined: it is another key. */
export function lockOf(key: string): LockKey | undefined {
  return keys.parseLock(key);
}

const operationsMax = 128;

/** Takes all the locks or none; `tickets` has the revision of the own ticket for each identity where there is one. */
export function takeLocks(
  lease: bigint,
  holder: string,
  locks: readonly { readonly identity: string; readonly mode: Mode }[],
  tickets: ReadonlyMap<string, number>,
): TxnRequest {
  const wanted = locks.map(({ identity, mode }) => ({ identity, request: request(identity, mode) }));
  return lockTransaction(
    {
      wanted,
      guards: wanted.map((one) => guard(keys, one, tickets.get(one.identity) ?? 'nobody waits')),
      puts: locks.map(({ identity, mode }) => ({
        put: { key: lockKey(identity, mode, holder), value: '', lease },
      })),
      also: [],
      besides: [...tickets.keys()].map((identity) => ({
        delete: { key: lockKey(identity, 'waiting', holder) },
      })),
    },
    operationsMax,
  );
}

export function deleteKeys(keys: readonly string[]): TxnRequest {
  return { compare: [], success: keys.map((key) => ({ delete: { key } })), failure: [] };
}

/** Puts a key under a lease unless it is there. */
export function putOnce(key: string, lease: bigint): TxnRequest {
  return {
    compare: [isMissing(key)],
    success: [{ put: { key, value: '', lease } }],
    failure: [],
  };
}
