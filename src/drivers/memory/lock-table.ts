/**
 * A table of who holds what, in this process: the model that the real drivers are compared with.
 *
 * Invariant: of two sessions that hold one identity, the modes are compatible. `take` alone adds holders and
 * checks that first; everything is synchronous, so nobody sees half a change.
 */
import { compatible } from '../../vocabulary.js';
import type { LockRequest, Loss, Mode, Owner } from '../../vocabulary.js';

/** One grant, from `acquire` or `accept` on until it ends. */
export interface Session {
  readonly owner: Owner;
  /** ISO 8601, to the second, UTC. */
  readonly since: string;
  /**
   * held -> suspended (suspend), suspended -> held (resume), held or suspended -> ended (release, hand over,
   * or a resume that finds the locks lost). Only `LockTable.move` changes it.
   */
  readonly state: 'held' | 'suspended' | 'ended';
  /** By identity. A request stays listed when its lock was broken: the caller still has to end it. */
  readonly requests: Map<string, LockRequest>;
  readonly tokens: Map<string, string>;
  /** Labels of what others took, or broke, while this session had to be safe from that. */
  readonly lostLabels: Set<string>;
  readonly lost: Promise<Loss>;
  readonly lose: (loss: Loss) => void;
}

interface Slot {
  readonly held: Map<Session, Mode>;
  /** Who gave it back for a while and must learn if it was taken by somebody in between. */
  readonly asleep: Map<Session, Mode>;
}

/** A request that cannot be granted now, and the sessions in its way. */
export interface Blocked {
  readonly request: LockRequest;
  readonly by: readonly Session[];
}

interface Take {
  /** The second half of its token. */
  readonly number: number;
  readonly mode: Mode;
  readonly owner: Owner;
}

export class LockTable {
  readonly #slots = new Map<string, Slot>();
  readonly #changed = new Set<() => void>();
  /** Every take of an identity, in order, so that a later one can ask who came between. */
  readonly #takes = new Map<string, Take[]>();
  /** One counter for the table, so that it grows for each resource even after its slot was dropped. */
  #grants = 0;

  readonly #name: string;

  /** The name is the first half of every token: `name:number`. */
  constructor(name: string) {
    this.#name = name;
  }

  open(owner: Owner): Session {
    const { promise, resolve } = withResolver<Loss>();
    return {
      owner,
      since: new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
      state: 'held',
      requests: new Map(),
      tokens: new Map(),
      lostLabels: new Set(),
      lost: promise,
      lose: resolve,
    };
  }

  /** The requests that others stand in the way of, in the order given; empty: all are free. */
  blocked(requests: Iterable<LockRequest>, except?: Session): Blocked[] {
    const found: Blocked[] = [];
    for (const request of requests) {
      const by = this.holders(request.resource.identity)
        .filter(([session, mode]) => session !== except && !compatible(request.mode, mode))
        .map(([session]) => session);
      if (by.length > 0) found.push({ request, by });
    }
    return found;
  }

  holders(identity: string): [Session, Mode][] {
    return [...(this.#slots.get(identity)?.held ?? [])];
  }

  /** Adds all the requests to a session or, giving what is in the way, none. */
  take(session: Session, requests: readonly LockRequest[]): Blocked[] {
    const blocked = this.blocked(requests);
    if (blocked.length > 0) return blocked;
    for (const request of requests) {
      const { identity } = request.resource;
      session.requests.set(identity, request);
      session.tokens.set(identity, `${this.#name}:${++this.#grants}`);
      const take = { number: this.#grants, mode: request.mode, owner: session.owner };
      this.#takes.set(identity, [...(this.#takes.get(identity) ?? []), take]);
      const slot = this.#slot(identity);
      slot.held.set(session, request.mode);
      for (const [other, mode] of slot.asleep) {
        if (other !== session && !compatible(request.mode, mode)) {
          other.lostLabels.add(other.requests.get(identity)?.resource.label ?? identity);
        }
      }
    }
    return [];
  }

  /**
   * Whether anybody but the one whose token it was has had an identity between that token and a later one, in a mode that would have
   * kept it out; undefined: there was no such token.
   */
  hadOthers(identity: string, token: string, later: string | undefined): boolean | undefined {
    const takes = this.#takes.get(identity) ?? [];
    const first = takes.find(({ number }) => token === `${this.#name}:${number}`);
    if (first === undefined) return undefined;
    return takes.some(
      ({ number, mode, owner }) =>
        number > first.number &&
        `${this.#name}:${number}` !== later &&
        !compatible(first.mode, mode) &&
        !isSameOwner(owner, first.owner),
    );
  }

  /** Takes identities from a session: nobody holds them, or sleeps on them, for it any longer. */
  drop(session: Session, identities: readonly string[]): void {
    this.#remove(session, identities);
    this.#announce();
  }

  /** The one door through which the state of a session changes. */
  move(session: Session, to: 'held' | 'suspended' | 'ended'): void {
    if (to === 'ended') this.#remove(session, [...session.requests.keys()]);
    for (const [identity, { mode }] of session.requests) {
      const slot = this.#slot(identity);
      (to === 'held' ? slot.asleep : slot.held).delete(session);
      (to === 'held' ? slot.held : slot.asleep).set(session, mode);
    }
    (session as { state: Session['state'] }).state = to;
    this.#announce();
  }

  /** Gives all that a session holds to another, with new tokens and no moment in which it is free. */
  handOver(from: Session, to: Session): void {
    const requests = [...from.requests.values()];
    this.#remove(from, [...from.requests.keys()]);
    this.take(to, requests);
    this.move(from, 'ended');
  }

  /** Ends the locks of all sessions on one identity. */
  breakLocks(identity: string, reason: string): void {
    const slot = this.#slots.get(identity);
    if (slot === undefined) return;
    for (const session of [...slot.held.keys(), ...slot.asleep.keys()]) {
      const label = session.requests.get(identity)?.resource.label ?? identity;
      session.lostLabels.add(label);
      session.lose({ reason, resources: [label] });
      this.#forget(session, identity);
    }
    this.#announce();
  }

  /** Calls back once, at the next change; gives a function that takes the wish back. */
  onChange(callback: () => void): () => void {
    this.#changed.add(callback);
    return () => this.#changed.delete(callback);
  }

  #slot(identity: string): Slot {
    let slot = this.#slots.get(identity);
    if (slot === undefined) this.#slots.set(identity, (slot = { held: new Map(), asleep: new Map() }));
    return slot;
  }

  #remove(session: Session, identities: readonly string[]): void {
    for (const identity of identities) {
      session.requests.delete(identity);
      session.tokens.delete(identity);
      this.#forget(session, identity);
    }
  }

  #forget(session: Session, identity: string): void {
    const slot = this.#slots.get(identity);
    if (slot === undefined) return;
    slot.held.delete(session);
    slot.asleep.delete(session);
    if (slot.held.size + slot.asleep.size === 0) this.#slots.delete(identity);
  }

  #announce(): void {
    const callbacks = [...this.#changed];
    this.#changed.clear();
    for (const callback of callbacks) callback();
  }
}

function isSameOwner(a: Owner, b: Owner): boolean {
  return a.uuid === b.uuid && a.pid === b.pid && a.startTime === b.startTime;
}

function withResolver<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => (resolve = settle));
  return { promise, resolve };
}
