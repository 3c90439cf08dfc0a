/**
 * Which keys there are in etcd. All stand under `PREFIX/v1/`, where v1 is the version of this layout:
 *
 *     locks/IDENTITY/MODE/HOLDER        a lock; its value says who has it
 *     locks/IDENTITY/exclusive/holder   one that nobody can have beside another: always the same key, because etcd goes
 *                                       through all keys that ever were in a range, until it compacts
 *     locks/IDENTITY/waiting/HOLDER     somebody waits for it, since the revision that made the key
 *     sessions/LEASE                    a session of a host: what its renewals read
 *     voided/HOLDER                     a transaction that was given up, and may not be done any more
 *     offers/OFFER                      a handover that can be accepted
 *     breaks/IDENTITY/REVISION...       a lock that was broken, by whom and on what evidence; the only keys without a lease
 *
 * A transaction can ask whether a range of keys is empty, so that the modes stand side by side: "nobody has it in another
 * mode" is what stands before and behind one's own.
 */
import type { Mode, Resource } from '../../vocabulary.js';

/** From `key` to before `rangeEnd`. */
export interface KeyRange {
  readonly key: string;
  readonly rangeEnd: string;
}

/** What a key under `locks/` says. `waiting` comes after every mode, which `partsBeside` needs. */
export interface LockKey {
  readonly identity: string;
  readonly mode: Mode | 'waiting';
  readonly holder: string;
}

const version = 'v1';

/** A slash ends a part of a key, so there is none inside one; what is no visible ASCII would be hard to type. */
function encoded(identity: string): string {
  return identity.replaceAll(/[^\x21-\x7e]|[%/]/gu, (one) =>
    [...Buffer.from(one)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join(''),
  );
}

function decoded(part: string): string {
  const bytes = part.replaceAll(/%([0-9A-F]{2})/g, (_, hex: string) =>
    String.fromCodePoint(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/** The first key behind all that begin with `path/`: `0` follows the slash in ASCII. */
function endOf(path: string): string {
  return `${path}0`;
}

/** What a resource is called in the cluster: what only one host has carries the host's id. */
export function clusterIdentity({ scope, identity }: Resource, hostId: string): string {
  return scope === 'cluster' ? identity : `host:${hostId}:${identity}`;
}

/** The name in the key of a lock, for a transaction that has the name `holder`. */
export function holderInKey(mode: Mode, holder: string): string {
  return mode === 'exclusive' ? 'holder' : holder;
}

/** More than the largest guest has. */
const pathsMax = 1_000;

export class Keys {
  readonly #root: string;
  /** By identity: each is needed several times in a row, and to encode it takes as long as all else about a lock. */
  readonly #paths = new Map<string, string>();

  constructor(prefix: string) {
    this.#root = `${prefix}/${version}`;
  }

  lock({ identity, mode, holder }: LockKey): string {
    return `${this.#identity(identity)}/${mode}/${holder}`;
  }

  /** What a key says; undefined: it is none of these. */
  parseLock(key: string): LockKey | undefined {
    const [identity, mode, holder, more] = key.slice(this.#root.length + '/locks/'.length).split('/');
    if (!key.startsWith(`${this.#root}/locks/`) || holder === undefined || more !== undefined)
      return undefined;
    return { identity: decoded(identity ?? ''), mode: mode as LockKey['mode'], holder };
  }

  /** All locks of an identity, and who waits. */
  all(identity: string): KeyRange {
    const at = this.#identity(identity);
    return { key: `${at}/`, rangeEnd: endOf(at) };
  }

  /** Only the locks. */
  held(identity: string): KeyRange {
    const at = this.#identity(identity);
    return { key: `${at}/`, rangeEnd: `${at}/waiting/` };
  }

  waiting(identity: string): KeyRange {
    const at = `${this.#identity(identity)}/waiting`;
    return { key: `${at}/`, rangeEnd: endOf(at) };
  }

  /** The locks that keep a mode out, as ranges that have to be empty; `waiters` adds those who wait. */
  inTheWay(identity: string, mode: Mode, waiters: boolean): readonly KeyRange[] {
    const whole = waiters ? this.all(identity) : this.held(identity);
    if (mode === 'exclusive') return [whole];
    const own = `${this.#identity(identity)}/${mode}`;
    const before = { key: whole.key, rangeEnd: `${own}/` };
    return mode === 'shared' && !waiters ? [before] : [before, { key: endOf(own), rangeEnd: whole.rangeEnd }];
  }

  /** Every lock of the cluster. */
  allLocks(): KeyRange {
    return { key: `${this.#root}/locks/`, rangeEnd: `${this.#root}/locks0` };
  }

  session(lease: bigint): string {
    return `${this.#root}/sessions/${leaseName(lease)}`;
  }

  voided(holder: string): string {
    return `${this.#root}/voided/${holder}`;
  }

  offer(name: string): string {
    return `${this.#root}/offers/${name}`;
  }

  break(identity: string, name: string): string {
    return `${this.#root}/breaks/${encoded(identity)}/${name}`;
  }

  breaks(identity: string): KeyRange {
    const at = `${this.#root}/breaks/${encoded(identity)}`;
    return { key: `${at}/`, rangeEnd: endOf(at) };
  }

  #identity(identity: string): string {
    const known = this.#paths.get(identity);
    if (known !== undefined) return known;
    if (this.#paths.size === pathsMax) this.#paths.clear();
    const path = `${this.#root}/locks/${encoded(identity)}`;
    this.#paths.set(identity, path);
    return path;
  }
}

/** As etcdctl writes it. */
export function leaseName(lease: bigint): string {
  return lease.toString(16);
}
