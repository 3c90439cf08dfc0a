/** The keys and transactions of the driver, as far as the simulation needs them: locks in four modes, and tickets of those who wait. */
import { compareResult, compareTarget, type Compare, type TxnRequest } from '../../../../src/drivers/etcd/client/messages.js';
import { modes, type Mode } from '../../../../src/vocabulary.js';

export const lockPrefix = 'holdfast/v1/locks/';

export function markKey(lease: bigint): string {
  return `holdfast/v1/sessions/${lease.toString(16)}`;
}

export function lockKey(identity: string, mode: Mode | 'waiting', holder: string): string {
  return `${lockPrefix}${identity}/${mode}/${holder}`;
}

/** What a key of `lockKey` says; undefined: it is another key. */
export function lockOf(key: string): { readonly identity: string; readonly mode: Mode | 'waiting' } | undefined {
  if (!key.startsWith(lockPrefix)) return undefined;
  const [identity, mode] = key.slice(lockPrefix.length).split('/');
  return identity === undefined || mode === undefined ? undefined : { identity, mode: mode as Mode | 'waiting' };
}

function range(prefix: string): { readonly key: string; readonly rangeEnd: string } {
  // '0' comes right after '/'.
  return { key: prefix, rangeEnd: `${prefix.slice(0, -1)}0` };
}

const nothingIn = (prefix: string): Compare => ({
  ...range(prefix),
  target: compareTarget.version,
  result: compareResult.equal,
  version: 0,
});

/** Takes all the locks or none; `tickets` has the revision of the own ticket for each identity where there is one. */
export function takeLocks(
  lease: bigint,
  holder: string,
  locks: readonly { readonly identity: string; readonly mode: Mode }[],
  tickets: ReadonlyMap<string, number>,
): TxnRequest {
  const compare = locks.flatMap(({ identity, mode }) => {
    const prefix = `${lockPrefix}${identity}/`;
    const others = modes.filter((one) => one !== mode || one === 'exclusive');
    const ticket = tickets.get(identity);
    const waiting: Compare =
      ticket === undefined
        ? nothingIn(`${prefix}waiting/`)
        : {
            ...range(`${prefix}waiting/`),
            target: compareTarget.create,
            result: compareResult.greater,
            createRevision: ticket - 1,
          };
    return [...others.map((other) => nothingIn(`${prefix}${other}/`)), waiting];
  });
  const success = locks.flatMap(({ identity, mode }) => [
    { put: { key: lockKey(identity, mode, holder), value: '', lease } },
    { delete: { key: lockKey(identity, 'waiting', holder) } },
  ]);
  return { compare, success, failure: [] };
}

export function deleteKeys(keys: readonly string[]): TxnRequest {
  return { compare: [], success: keys.map((key) => ({ delete: { key } })), failure: [] };
}

/** Puts a key under a lease unless it is there. */
export function putOnce(key: string, lease: bigint): TxnRequest {
  return {
    compare: [{ key, target: compareTarget.version, result: compareResult.equal, version: 0 }],
    success: [{ put: { key, value: '', lease } }],
    failure: [],
  };
}
