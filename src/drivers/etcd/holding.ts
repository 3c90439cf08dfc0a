/**
 * What is held by one grant, from `acquire`, `accept` or `adopt` on until it ends. Several grants can stand for one holding,
 * one after another: an extension, a smaller one, one that was resumed.
 */
import type { Grant, Guarantee, GuaranteeTimes } from '../../driver/contract.js';
import { HoldfastError } from '../../errors.js';
import type { LockRequest, Loss, Owner } from '../../vocabulary.js';
import type { Session } from './session/open-session.js';

/** One lock: a key of ours in etcd. */
export interface HeldLock {
  readonly request: LockRequest;
  /** What the resource is called in the cluster. */
  readonly identity: string;
  readonly key: string;
  /** Of the transaction that put the key: the fencing token. */
  readonly revision: number;
}

/**
 * held -> suspended -> held; held or suspended -> ended; held -> handed over. Only `move` changes it.
 * What was lost stays `held`: whoever has it still has to give it back.
 */
export type HoldingState = 'held' | 'suspended' | 'handed over' | 'ended';

export class Holding {
  readonly owner: Owner;
  /** The locks, by the identity of their resource. */
  readonly locks = new Map<string, HeldLock>();
  /** Names of handovers that were offered and neither taken back nor accepted, as far as is known. */
  readonly offers = new Set<string>();
  #lost: Promise<Loss>;
  #session: Session;
  #state: HoldingState = 'held';
  #loss: Loss | undefined;
  #tell: (loss: Loss) => void = () => undefined;
  /** What goes on for as long as it is held, by the lock's key. */
  readonly #ends = new Map<string, () => void>();

  constructor(owner: Owner, session: Session) {
    this.owner = owner;
    this.#session = session;
    this.#lost = new Promise((resolve) => (this.#tell = resolve));
    void this.#endWith(session);
  }

  /** Of the present grant: what was lost and taken again can be lost once more. */
  get lost(): Promise<Loss> {
    return this.#lost;
  }

  get session(): Session {
    return this.#session;
  }

  get state(): HoldingState {
    return this.#state;
  }

  get loss(): Loss | undefined {
    return this.#loss;
  }

  /** What was suspended or lost is held again, by these locks; it can stand under another session. */
  regain(session: Session, locks: readonly HeldLock[]): void {
    this.stopWatching([...this.#ends.keys()]);
    if (this.#loss !== undefined) {
      this.#loss = undefined;
      this.#lost = new Promise((resolve) => (this.#tell = resolve));
    }
    this.add(locks);
    this.#state = 'held';
    if (session === this.#session) return;
    this.#session = session;
    void this.#endWith(session);
  }

  move(state: HoldingState): void {
    this.#state = state;
    if (state !== 'held') this.stopWatching([...this.#ends.keys()]);
  }

  add(locks: readonly HeldLock[]): void {
    for (const lock of locks) this.locks.set(lock.request.resource.identity, lock);
  }

  /** `end` is called when that lock is no longer held. */
  whileHeld(key: string, end: () => void): void {
    this.#ends.set(key, end);
  }

  stopWatching(keys: readonly string[]): void {
    for (const key of keys) {
      this.#ends.get(key)?.();
      this.#ends.delete(key);
    }
  }

  lose(loss: Loss): void {
    this.#loss ??= loss;
    this.#tell(this.#loss);
  }

  /** Throws unless it is held and certain. */
  requireHeld(): void {
    if (this.#state !== 'held') throw ended(`this grant is ${this.#state}`);
    if (this.#loss !== undefined) throw new HoldfastError('LOST', this.#loss.reason);
  }

  /** While it is suspended nothing is held that could be lost with the session. */
  async #endWith(session: Session): Promise<void> {
    const loss = await session.lost;
    if (this.#session !== session || this.#state !== 'held') return;
    const resources = [...this.locks.values()].map(({ request }) => request.resource.label);
    this.lose({ ...loss, resources });
  }
}

const holdings = new WeakMap<Grant, Holding>();

/** A grant is a snapshot of a holding; its guarantee is that of the session as of now. */
export function grantOf(holding: Holding): Grant {
  const { session } = holding;
  const locks = [...holding.locks.values()];
  const grant: Grant = {
    requests: locks.map(({ request }) => request),
    descriptors: [],
    tokens: Object.fromEntries(
      locks.map(({ request, revision }) => [request.resource.identity, `${session.clusterId}:${revision}`]),
    ),
    lost: holding.lost,
    guarantee: guaranteeOf(session),
  };
  holdings.set(grant, holding);
  return grant;
}

/** One for each session: who looks after many grants sees which are renewed together. */
const guarantees = new WeakMap<Session, Guarantee>();

function guaranteeOf(session: Session): Guarantee {
  const known = guarantees.get(session);
  if (known !== undefined) return known;
  const guarantee: Guarantee = {
    get times(): GuaranteeTimes {
      return session.times;
    },
    onRenewal: (listener) => session.onRenewal(listener),
  };
  guarantees.set(session, guarantee);
  return guarantee;
}

export function holdingOf(grant: Grant): Holding {
  const holding = holdings.get(grant);
  if (holding === undefined) throw new HoldfastError('USAGE', 'the grant is not one of the driver etcd');
  return holding;
}

export function ended(what: string): HoldfastError {
  return new HoldfastError('ENDED', what);
}
