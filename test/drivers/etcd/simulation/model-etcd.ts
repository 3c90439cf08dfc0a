/**
 * A model of an etcd cluster of three: one history of keys with revisions, leases that its leader counts, elections, and
 * members that are killed, stopped, cut off from the others, or stuck on their disk.
 *
 * What it has of the real one, because the safety of a session hangs on it (measured with etcd 3.4.23):
 * - A leader that is stuck on its disk, or was stopped and goes on, answers keepalives from its own table of leases until it
 *   learns that it was deposed, while its successor lets the same leases expire.
 * - A member fills in the Raft term of a keepalive's answer before it asks its leader, that of a read after the read.
 * - A linearizable read needs a leader that has the majority at that moment; a serializable one gives what the member has.
 * - An election gives each lease its whole TTL anew.
 * - A request can be carried out long after its sender has given up.
 */
import {
  compareResult,
  compareTarget,
  type Compare,
  type TxnRequest,
} from '../../../../src/drivers/etcd/client/messages.js';
import type { Agenda, Chance } from './agenda.js';

export interface ModelKey {
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly lease: bigint;
}

export type ModelCall =
  | { readonly call: 'grant'; readonly lease: bigint; readonly ttlMs: number }
  | { readonly call: 'keep alive'; readonly lease: bigint }
  | { readonly call: 'revoke'; readonly lease: bigint }
  | { readonly call: 'read'; readonly key: string; readonly serializable?: boolean }
  | { readonly call: 'transaction'; readonly request: TxnRequest };

export type ModelAnswer =
  | {
      readonly clusterId: bigint;
      readonly raftTerm: number;
      readonly revision: number;
      /** Of a keepalive. */
      readonly ttlMs?: number;
      /** Of a read: what was there. */
      readonly key?: ModelKey | undefined;
      /** Of a transaction. */
      readonly succeeded?: boolean;
    }
  | { readonly error: string };

/** What changed the keys: who wants to check that hears of it in the moment when it happens. */
export type ModelChange =
  | { readonly change: 'put'; readonly key: string; readonly entry: ModelKey }
  | {
      readonly change: 'deleted';
      readonly key: string;
      readonly entry: ModelKey;
      readonly why: 'transaction' | 'expired' | 'revoked' | 'operator';
    };

export type Ailment = 'killed' | 'stopped' | 'stuck' | 'cut off';

interface Member {
  ailment: Ailment | undefined;
  term: number;
  /** Who it takes for the leader. */
  leader: number | undefined;
  /** When it leads, or has not noticed that it does no longer: when each lease expires, by its own clock. */
  leases: Map<bigint, { ttlMs: number; expiresAtMs: number }> | undefined;
  /** What it had when it was last in touch with the others. */
  oldKeys: ReadonlyMap<string, ModelKey> | undefined;
  /** Its clock runs so much faster than true time. */
  readonly rate: number;
  /** What came while it was stopped. */
  waiting: (() => void)[];
}

export const clusterId = 0xc1n;
const members = 3;
const forwardMs = 1;
const pollMs = 100;
/** A member gives a request up after that time (ReqTimeout of a default etcd). */
const requestMsMax = 7_000;

export class ModelEtcd {
  readonly keys = new Map<string, ModelKey>();
  readonly members: readonly Member[];
  revision = 1;
  term = 2;
  leader: number | undefined = 0;
  readonly #agenda: Agenda;
  readonly #chance: Chance;
  readonly #onChange: (change: ModelChange) => void;
  readonly #onHealth: (leaderChanged: boolean) => void;
  #election = 0;
  /** What all members know of the leases; when they expire is known to the leader alone. */
  readonly #granted = new Map<bigint, number>();

  constructor(world: {
    readonly agenda: Agenda;
    readonly chance: Chance;
    readonly rateDifference: number;
    readonly onChange: (change: ModelChange) => void;
    /** Something is better or worse than before. */
    readonly onHealth: (leaderChanged: boolean) => void;
  }) {
    this.#agenda = world.agenda;
    this.#chance = world.chance;
    this.#onChange = world.onChange;
    this.#onHealth = world.onHealth;
    this.members = Array.from({ length: members }, (_, index) => ({
      ailment: undefined,
      term: this.term,
      leader: 0,
      leases: index === 0 ? new Map() : undefined,
      oldKeys: undefined,
      rate: 1 + this.#chance.between(-world.rateDifference, world.rateDifference),
      waiting: [],
    }));
  }

  /** Whether a client that reaches this member is served at once. */
  isWell(index: number): boolean {
    const member = this.#member(index);
    return this.leader !== undefined && member.ailment === undefined && member.leader === this.leader;
  }

  /** A request has arrived at a member. */
  handle(index: number, call: ModelCall, answer: (answer: ModelAnswer) => void): void {
    this.#whenRunning(index, () => {
      const member = this.#member(index);
      if (member.ailment === 'killed') return answer({ error: 'connection refused' });
      const giveUpAtMs = this.#agenda.nowMs + requestMsMax;
      if (call.call === 'keep alive')
        return this.#keepAlive(index, call.lease, member.term, giveUpAtMs, answer);
      if (call.call === 'read' && call.serializable === true) {
        return answer({ ...this.#header(member), key: (member.oldKeys ?? this.keys).get(call.key) });
      }
      this.#decide(index, call, giveUpAtMs, answer);
    });
  }

  /** Lets a member have something, or get over it (undefined). */
  ail(index: number, ailment: Ailment | undefined): void {
    const member = this.#member(index);
    const before = member.ailment;
    member.ailment = ailment;
    if (ailment !== undefined) member.oldKeys ??= new Map(this.keys);
    if (ailment === 'killed') {
      member.leases = undefined;
      member.waiting = [];
    }
    if (ailment === 'cut off' && member.leases !== undefined) {
      // It asks itself whether it still has a majority, once in an election timeout.
      this.#agenda.after(this.#chance.between(1_000, 1_500), () => {
        if (member.ailment === 'cut off') this.#stepDown(member);
      });
    }
    if (ailment === undefined && before !== undefined) {
      // What was waiting comes first: it does not know yet that it was deposed.
      const waiting = member.waiting.splice(0);
      for (const request of waiting) request();
      this.#agenda.after(this.#chance.between(0, 300), () => {
        if (member.ailment !== undefined) return;
        member.oldKeys = undefined;
        if (before === 'cut off' && this.#chance.is(0.5)) this.changeLeader();
        this.#learn(index);
      });
    }
    this.#reconsider();
  }

  /** The leader gives way. */
  changeLeader(): void {
    this.#elect(++this.#election);
  }

  /** Somebody deletes a key by hand. */
  deleteByHand(key: string): void {
    this.#delete(key, 'operator');
  }

  #member(index: number): Member {
    return this.members[index] as Member;
  }

  #whenRunning(index: number, request: () => void): void {
    const member = this.#member(index);
    if (member.ailment === 'stopped') member.waiting.push(request);
    else request();
  }

  #header(member: Member): { clusterId: bigint; raftTerm: number; revision: number } {
    return { clusterId, raftTerm: member.term, revision: this.revision };
  }

  #keepAlive(
    index: number,
    lease: bigint,
    raftTerm: number,
    giveUpAtMs: number,
    answer: (answer: ModelAnswer) => void,
  ): void {
    const member = this.#member(index);
    if (member.ailment === 'killed') return;
    const again = (): void => {
      if (this.#agenda.nowMs > giveUpAtMs) return answer({ error: 'no leader' });
      this.#agenda.after(pollMs, () => this.#keepAlive(index, lease, raftTerm, giveUpAtMs, answer));
    };
    const renewAt = (leader: number): void =>
      this.#whenRunning(leader, () => {
        const leases = this.#member(leader).leases;
        if (leases === undefined || this.#member(leader).ailment === 'killed') return again();
        const known = leases.get(lease);
        const found = known !== undefined && this.#clock(leader) < known.expiresAtMs;
        if (found) this.#refresh(leader, lease, known.ttlMs, 0);
        answer({ clusterId, raftTerm, revision: this.revision, ttlMs: found ? known.ttlMs : 0 });
      });
    const { leader } = member;
    if (leader === undefined) return again();
    if (leader === index) return renewAt(leader);
    // Cut off from the others it reaches no leader but itself.
    if (member.ailment === 'cut off' || this.#member(leader).ailment === 'cut off') return again();
    this.#agenda.after(forwardMs, () => renewAt(leader));
  }

  /** What needs the majority: waits for it, and may be done long after the sender has gone. */
  #decide(
    index: number,
    call: Exclude<ModelCall, { call: 'keep alive' }>,
    giveUpAtMs: number,
    answer: (answer: ModelAnswer) => void,
  ): void {
    const member = this.#member(index);
    if (member.ailment === 'killed') return;
    if (this.isWell(index)) {
      this.#agenda.after(forwardMs, () => {
        if (!this.isWell(index)) return this.#decide(index, call, giveUpAtMs, answer);
        const result = this.#carryOut(call);
        answer('error' in result ? result : { ...this.#header(member), ...result });
      });
    } else if (this.#agenda.nowMs > giveUpAtMs) {
      answer({ error: 'request timed out' });
    } else {
      this.#agenda.after(pollMs, () => this.#decide(index, call, giveUpAtMs, answer));
    }
  }

  #carryOut(
    call: Exclude<ModelCall, { call: 'keep alive' }>,
  ): { key?: ModelKey | undefined; succeeded?: boolean } | { error: string } {
    const leader = this.leader as number;
    if (call.call === 'read') return { key: this.keys.get(call.key) };
    if (call.call === 'grant') {
      this.#granted.set(call.lease, call.ttlMs);
      this.#refresh(leader, call.lease, call.ttlMs, 0);
      return {};
    }
    if (call.call === 'revoke') {
      this.#endLease(call.lease, 'revoked');
      return {};
    }
    return this.#transact(call.request);
  }

  #transact({ compare, success, failure }: TxnRequest): { succeeded: boolean } | { error: string } {
    const succeeded = compare.every((one) => this.#holds(one));
    const operations = succeeded ? success : failure;
    for (const { put } of operations) {
      if (put?.lease !== undefined && !this.#granted.has(put.lease)) {
        return { error: 'requested lease not found' };
      }
    }
    if (operations.some((one) => one.range === undefined)) this.revision++;
    for (const { put, delete: deletion } of operations) {
      if (put !== undefined) this.#put(put.key, put.value, put.lease ?? 0n);
      if (deletion !== undefined) this.#delete(deletion.key, 'transaction');
    }
    return { succeeded };
  }

  #put(key: string, value: string, lease: bigint): void {
    const createRevision = this.keys.get(key)?.createRevision ?? this.revision;
    const entry: ModelKey = { value, createRevision, modRevision: this.revision, lease };
    this.keys.set(key, entry);
    this.#onChange({ change: 'put', key, entry });
  }

  #delete(key: string, why: 'transaction' | 'expired' | 'revoked' | 'operator'): void {
    const entry = this.keys.get(key);
    if (entry === undefined) return;
    this.keys.delete(key);
    this.#onChange({ change: 'deleted', key, entry, why });
  }

  #holds(compare: Compare): boolean {
    const { key, rangeEnd } = compare;
    if (rangeEnd === undefined) return satisfies(compare, this.keys.get(key));
    // A range without keys satisfies every comparison.
    for (const [one, entry] of this.keys) {
      if (one >= key && one < rangeEnd && !satisfies(compare, entry)) return false;
    }
    return true;
  }

  #clock(index: number): number {
    return this.#agenda.nowMs * this.#member(index).rate;
  }

  #refresh(index: number, lease: bigint, ttlMs: number, extraMs: number): void {
    const member = this.#member(index);
    const expiresAtMs = this.#clock(index) + ttlMs + extraMs;
    member.leases?.set(lease, { ttlMs, expiresAtMs });
    this.#agenda.at(expiresAtMs / member.rate, () => this.#expire(index, lease, expiresAtMs));
  }

  #expire(index: number, lease: bigint, expiresAtMs: number): void {
    if (this.#member(index).leases?.get(lease)?.expiresAtMs !== expiresAtMs) return;
    // A deposed leader has nobody who would carry it out.
    if (this.leader === index && this.isWell(index)) this.#endLease(lease, 'expired');
  }

  #endLease(lease: bigint, why: 'expired' | 'revoked'): void {
    this.#member(this.leader as number).leases?.delete(lease);
    if (!this.#granted.delete(lease)) return;
    this.revision++;
    for (const [key, entry] of [...this.keys]) if (entry.lease === lease) this.#delete(key, why);
  }

  #healthy(): number[] {
    return this.members.flatMap(({ ailment }, index) => (ailment === undefined ? [index] : []));
  }

  /** Whether there is a leader is decided anew. */
  #reconsider(): void {
    const healthy = this.#healthy();
    const hasMajority = healthy.length * 2 > members;
    if (this.leader !== undefined && (!healthy.includes(this.leader) || !hasMajority)) {
      this.leader = undefined;
      this.#election++;
    }
    if (this.leader === undefined && hasMajority) {
      const election = ++this.#election;
      this.#agenda.after(this.#chance.between(1_000, 2_200), () => {
        if (election === this.#election) this.#elect(election);
      });
    }
    this.#onHealth(false);
  }

  #elect(election: number): void {
    const healthy = this.#healthy();
    if (election !== this.#election || healthy.length * 2 <= members) return;
    const old = this.leader;
    this.term += 1 + this.#chance.below(3);
    this.leader = this.#chance.oneOf(healthy);
    if (old !== undefined && old !== this.leader) this.#member(old).leases = undefined;
    const member = this.#member(this.leader);
    member.leases = new Map();
    const extraMs = this.#chance.between(0, 1_000);
    for (const [lease, ttlMs] of this.#granted) this.#refresh(this.leader, lease, ttlMs, extraMs);
    for (const index of healthy) {
      if (index === this.leader) this.#learn(index);
      else this.#agenda.after(this.#chance.between(0, 300), () => this.#learn(index));
    }
    this.#onHealth(true);
  }

  #learn(index: number): void {
    const member = this.#member(index);
    if (member.ailment !== undefined) return;
    if (member.leases !== undefined && this.leader !== index) member.leases = undefined;
    member.term = this.term;
    member.leader = this.leader;
    this.#onHealth(false);
  }

  #stepDown(member: Member): void {
    member.leases = undefined;
    member.leader = undefined;
    // It asks to be elected, in vain.
    member.term++;
  }
}

function satisfies(compare: Compare, entry: ModelKey | undefined): boolean {
  const [found, wanted] =
    compare.target === compareTarget.create
      ? [entry?.createRevision ?? 0, compare.createRevision ?? 0]
      : compare.target === compareTarget.mod
        ? [entry?.modRevision ?? 0, compare.modRevision ?? 0]
        : [entry === undefined ? 0 : 1, compare.version ?? 0];
  if (compare.result === compareResult.equal) return found === wanted;
  if (compare.result === compareResult.greater) return found > wanted;
  if (compare.result === compareResult.less) return found < wanted;
  return found !== wanted;
}
