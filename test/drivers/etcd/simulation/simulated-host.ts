/**
 * A host of the simulation: its clocks, a supervising process with a session and commands that hold locks, and the guard that
 * kills a command at the deadline it was told last. The process can be stopped, the whole host suspended.
 */
import type { Timings } from '../../../../src/drivers/etcd/timings.js';
import { guaranteeFrom } from '../../../../src/drivers/etcd/timings.js';
import type {
  SessionCommand,
  SessionEvent,
  SessionState,
  SessionStep,
} from '../../../../src/drivers/etcd/session/session-state.js';
import type { GrantedLease } from '../../../../src/drivers/etcd/session/advance-session.js';
import { compatible, type Mode } from '../../../../src/vocabulary.js';
import type { Agenda, Chance } from './agenda.js';
import { clusterId, type ModelAnswer, type ModelCall } from './model-etcd.js';
import { deleteKeys, lockKey, markKey, putOnce, takeLocks } from './model-locks.js';

/** What decides: the state machine, and the few rules of its runner. A mutation changes one of them. */
export interface Rules {
  readonly start: (lease: GrantedLease, timings: Timings) => SessionStep;
  readonly advance: (state: SessionState, event: SessionEvent, timings: Timings) => SessionStep;
  readonly wakeAt: (state: SessionState, timings: Timings) => number;
  /** Undefined: some of the valid ones, as the seed says. */
  readonly timings: Timings | undefined;
  /** Which clock is `nowMs`. */
  readonly clock: 'boottime' | 'monotonic';
  /** What the read of a round is. */
  readonly serializableRead: boolean;
}

export interface Lock {
  readonly identity: string;
  readonly mode: Mode;
}

/** A command that runs because it has its locks. */
export interface Hold {
  readonly host: SimulatedHost;
  readonly lease: bigint;
  readonly locks: readonly Lock[];
  /** Dead, or has given its locks back. */
  over: boolean;
}

/** What a host needs of the world around it. */
export interface Surroundings {
  readonly agenda: Agenda;
  readonly chance: Chance;
  readonly rules: Rules;
  readonly timings: Timings;
  /** The member behind each endpoint. */
  readonly endpoints: readonly number[];
  readonly identities: readonly string[];
  readonly newLease: () => bigint;
  /** Sends a request; answers come late, twice, out of order, or never. */
  readonly call: (
    host: SimulatedHost,
    member: number,
    call: ModelCall,
    answer: (answer: ModelAnswer) => void,
  ) => void;
  /** A command runs (again). */
  readonly onRun: (hold: Hold) => void;
  readonly onLoss: (host: SimulatedHost, lease: bigint, reason: string) => void;
  /** Calls back after something of these identities was deleted. */
  readonly onceDeleted: (host: SimulatedHost, locks: readonly Lock[], callback: () => void) => void;
  /** No new commands. */
  readonly isClosing: () => boolean;
}

const answerMsMax = 3_000;

interface Attempt {
  /** The last part of its keys: nothing that comes late may meet the keys of another attempt. */
  readonly holder: string;
  readonly locks: readonly Lock[];
  readonly tickets: Map<string, number>;
  patience: number;
}

export class SimulatedHost {
  readonly name: string;
  readonly holds = new Set<Hold>();
  lease: bigint | undefined;
  state: SessionState | undefined;
  /** When it got its lease, in true time. */
  openSinceMs = 0;
  stopped = false;
  suspended = false;
  readonly #world: Surroundings;
  readonly #rate: number;
  readonly #offsetMs: number;
  #suspendedMs = 0;
  #suspendedAtMs = 0;
  /** What the process will do when it goes on. */
  #pending: (() => void)[] = [];
  #wakeAt = Infinity;
  #attempts = 0;

  constructor(name: string, rate: number, world: Surroundings) {
    this.name = name;
    this.#rate = rate;
    this.#world = world;
    this.#offsetMs = world.chance.between(0, 1e6);
    this.#later(world.chance.between(0, 1_000), () => this.#openSession());
  }

  /** The clock of its rules, which its guard goes by as well. */
  nowMs(): number {
    const { agenda, rules } = this.#world;
    const stoodMs =
      rules.clock === 'monotonic'
        ? this.#suspendedMs + (this.suspended ? agenda.nowMs - this.#suspendedAtMs : 0)
        : 0;
    return this.#offsetMs + (agenda.nowMs - stoodMs) * this.#rate;
  }

  get endpoints(): readonly number[] {
    return this.#world.endpoints;
  }

  get isRunning(): boolean {
    return !this.stopped && !this.suspended;
  }

  /** SIGSTOP and SIGCONT of the supervising process. */
  stop(stopped: boolean): void {
    this.stopped = stopped;
    this.#goOn();
  }

  /** The whole host stands still; afterwards the guard is the first to run. */
  suspend(suspended: boolean): void {
    if (suspended === this.suspended) return;
    const { nowMs } = this.#world.agenda;
    if (suspended) this.#suspendedAtMs = nowMs;
    else this.#suspendedMs += nowMs - this.#suspendedAtMs;
    this.suspended = suspended;
    if (suspended) return;
    this.#guard();
    for (const hold of this.holds) this.#world.onRun(hold);
    this.#goOn();
  }

  #goOn(): void {
    if (!this.isRunning) return;
    const pending = this.#pending.splice(0);
    // Which of timers and sockets comes first after such a pause is not said.
    if (this.#world.chance.is(0.5)) pending.reverse();
    for (const one of pending) this.#do(one);
  }

  #do(action: () => void): void {
    if (this.isRunning) action();
    else this.#pending.push(action);
  }

  #later(ms: number, action: () => void): void {
    this.#world.agenda.after(ms, () => this.#do(action));
  }

  /** The first answer, or what an error or too long a silence says: that nobody knows. */
  #ask(member: number, call: ModelCall, done: (answer: ModelAnswer) => void): void {
    let isDone = false;
    const once = (answer: ModelAnswer): void => {
      if (isDone) return;
      isDone = true;
      done(answer);
    };
    this.#world.call(this, member, call, (answer) => this.#do(() => once(answer)));
    this.#later(answerMsMax, () => once({ error: 'no answer' }));
  }

  // --- the session -----------------------------------------------------------------------------------------------------

  #openSession(attempt = 0): void {
    const { rules, timings, endpoints, newLease } = this.#world;
    if (this.#world.isClosing()) return;
    const lease = newLease();
    const sentAtMs = this.nowMs();
    const endpoint = attempt % endpoints.length;
    this.#ask(this.#memberOf(endpoint), { call: 'grant', lease, ttlMs: timings.ttlMs }, (answer) => {
      if ('error' in answer) return this.#later(200, () => this.#openSession(attempt + 1));
      this.lease = lease;
      this.openSinceMs = this.#world.agenda.nowMs;
      this.#take(rules.start({ clusterId, sentAtMs, endpoints: endpoints.length, endpoint }, timings));
      this.#later(this.#world.chance.between(0, 500), () => this.#work(lease));
    });
  }

  /** Tells the state machine of its session something. */
  tell(lease: bigint, event: SessionEvent): void {
    if (this.lease !== lease || this.state === undefined) return;
    this.#take(this.#world.rules.advance(this.state, event, this.#world.timings));
  }

  /** A watch on the mark has news. */
  markDeleted(lease: bigint): void {
    this.#do(() => this.tell(lease, { event: 'deleted', nowMs: this.nowMs() }));
  }

  #take({ state, commands }: SessionStep): void {
    const before = this.state?.phase;
    this.state = state;
    if (state.phase === 'lost' && before !== 'lost') this.#lose(this.lease as bigint, state.lossReason ?? '');
    for (const command of commands) this.#perform(this.lease as bigint, command);
    this.#wake();
  }

  #wake(): void {
    const { rules, timings, agenda } = this.#world;
    const { state, lease } = this;
    if (state === undefined || lease === undefined) return;
    const wakeAt = rules.wakeAt(state, timings);
    if (wakeAt === this.#wakeAt || wakeAt === Infinity) return;
    this.#wakeAt = wakeAt;
    agenda.after(this.#trueMs(wakeAt), () =>
      this.#do(() => {
        if (this.#wakeAt !== wakeAt) return;
        this.#wakeAt = Infinity;
        this.tell(lease, { event: 'time', nowMs: this.nowMs() });
        this.#wake();
      }),
    );
  }

  /** How long true time has to go on until its clock shows that; a little more, so that rounding never makes it early. */
  #trueMs(clockMs: number): number {
    return Math.max(0, (clockMs - this.nowMs()) / this.#rate) + 0.001;
  }

  #perform(lease: bigint, command: SessionCommand): void {
    const { endpoints, call, rules } = this.#world;
    const tell = (event: SessionEvent): void => this.#do(() => this.tell(lease, event));
    if (command.command === 'abandon') return;
    if (command.command === 'revoke') {
      for (const member of endpoints) call(this, member, { call: 'revoke', lease }, () => undefined);
      return;
    }
    const { endpoint } = command;
    const member = this.#memberOf(endpoint);
    const key = markKey(lease);
    if (command.command === 'mark') {
      call(this, member, { call: 'transaction', request: putOnce(key, lease) }, (answer) => {
        if ('error' in answer) {
          return tell({ event: 'failed', call: 'mark', why: answer.error, nowMs: this.nowMs() });
        }
        call(this, member, { call: 'read', key }, (found) => {
          if ('error' in found || found.key === undefined) {
            return tell({ event: 'failed', call: 'mark', why: 'not there', nowMs: this.nowMs() });
          }
          const { createRevision } = found.key;
          tell({ event: 'marked', endpoint, createRevision, nowMs: this.nowMs() });
        });
      });
      return;
    }
    const { round } = command;
    const request: ModelCall =
      command.command === 'keep alive'
        ? { call: 'keep alive', lease }
        : { call: 'read', key, serializable: rules.serializableRead };
    call(this, member, request, (answer) =>
      this.#do(() => {
        const nowMs = this.nowMs();
        if ('error' in answer) return tell({ event: 'failed', call: round, why: answer.error, nowMs });
        const { raftTerm } = answer;
        if (command.command === 'keep alive') {
          return tell({ event: 'kept', round, clusterId, raftTerm, ttlMs: answer.ttlMs ?? 0, nowMs });
        }
        tell({
          event: 'read',
          round,
          clusterId,
          raftTerm,
          createRevision: answer.key?.createRevision,
          nowMs,
        });
      }),
    );
  }

  #lose(lease: bigint, reason: string): void {
    const { chance, timings } = this.#world;
    this.#world.onLoss(this, lease, reason);
    for (const hold of this.holds) {
      // Told to stop: it does, sooner or later, or the guard kills it.
      this.#later(chance.between(0, timings.graceMs * 1.3), () => this.#endHold(hold));
    }
    this.#whenAllDead(() => {
      this.tell(lease, { event: 'end', nowMs: this.nowMs() });
      this.state = undefined;
      this.lease = undefined;
      this.#later(chance.between(0, 2_000), () => this.#openSession());
    });
  }

  #whenAllDead(action: () => void): void {
    if (this.holds.size === 0) return action();
    this.#later(50, () => this.#whenAllDead(action));
  }

  #endHold(hold: Hold): void {
    hold.over = true;
    this.holds.delete(hold);
  }

  // --- the guard: a process of its own, which a stopped supervisor does not stop ----------------------------------------------

  #guard(): void {
    const { timings, agenda } = this.#world;
    if (this.suspended || this.state === undefined || this.holds.size === 0) return;
    const { killAtMs } = guaranteeFrom(this.state.confirmedAtMs, timings);
    if (this.nowMs() >= killAtMs) for (const hold of this.holds) this.#endHold(hold);
    else agenda.after(this.#trueMs(killAtMs), () => this.#guard());
  }

  // --- the work: takes locks, holds them for a while, gives them back ------------------------------------------------------

  #isCertain(lease: bigint): boolean {
    this.tell(lease, { event: 'time', nowMs: this.nowMs() });
    const phase = this.lease === lease ? this.state?.phase : undefined;
    return phase === 'certain' || phase === 'starting';
  }

  #memberOf(endpoint: number): number {
    return this.#world.endpoints[endpoint] as number;
  }

  #anyMember(): number {
    return this.#world.chance.oneOf(this.#world.endpoints);
  }

  #work(lease: bigint): void {
    const { chance, identities } = this.#world;
    if (!this.#isCertain(lease)) return;
    if (this.#world.isClosing()) return this.#finish(lease);
    const mode = (): Mode =>
      chance.is(0.6) ? 'exclusive' : chance.oneOf(['read', 'shared', 'part'] as const);
    const wanted = chance.is(0.3) ? identities.slice(0, 2) : [chance.oneOf(identities)];
    const locks = wanted.map((identity) => ({ identity, mode: mode() }));
    const holder = `${lease.toString(16)}.${++this.#attempts}`;
    this.#acquire(lease, { holder, locks, tickets: new Map(), patience: chance.is(0.6) ? 5 : 0 });
  }

  #rest(lease: bigint): void {
    this.#later(this.#world.chance.between(10, 3_000), () => this.#work(lease));
  }

  #acquire(lease: bigint, attempt: Attempt): void {
    if (!this.#isCertain(lease)) return;
    const request = takeLocks(lease, attempt.holder, attempt.locks, attempt.tickets);
    this.#ask(this.#anyMember(), { call: 'transaction', request }, (answer) => {
      if (!this.#isCertain(lease)) return;
      // It may be done, and may still be: only the end of the lease is an end of that.
      if ('error' in answer) return this.#finish(lease);
      if (answer.succeeded === true) return this.#hold(lease, attempt);
      if (attempt.patience-- <= 0) return this.#giveUp(lease, attempt);
      this.#queue(lease, attempt);
    });
  }

  /** Has a ticket for each identity, in order, and asks again when something of them was given back. */
  #queue(lease: bigint, attempt: Attempt): void {
    const without = attempt.locks.find(({ identity }) => !attempt.tickets.has(identity));
    if (without === undefined) {
      let isAwake = false;
      const again = (): void => {
        if (isAwake) return;
        isAwake = true;
        this.#acquire(lease, attempt);
      };
      this.#world.onceDeleted(this, attempt.locks, () => this.#do(again));
      this.#later(this.#world.chance.between(500, 4_000), again);
      return;
    }
    const key = lockKey(without.identity, 'waiting', attempt.holder);
    this.#ask(this.#anyMember(), { call: 'transaction', request: putOnce(key, lease) }, (answer) => {
      if (!this.#isCertain(lease)) return;
      if ('error' in answer) return this.#finish(lease);
      this.#ask(this.#anyMember(), { call: 'read', key }, (found) => {
        if (!this.#isCertain(lease)) return;
        if ('error' in found || found.key === undefined) return this.#finish(lease);
        attempt.tickets.set(without.identity, found.key.createRevision);
        this.#queue(lease, attempt);
      });
    });
  }

  #giveUp(lease: bigint, { tickets, holder }: Attempt): void {
    if (tickets.size === 0) return this.#rest(lease);
    const keys = [...tickets.keys()].map((identity) => lockKey(identity, 'waiting', holder));
    this.#release(lease, keys, () => this.#rest(lease));
  }

  #hold(lease: bigint, { locks, holder }: Attempt): void {
    const hold: Hold = { host: this, lease, locks, over: false };
    this.holds.add(hold);
    this.#world.onRun(hold);
    this.#guard();
    const { chance } = this.#world;
    // Long ones are still there when a lease passes.
    const ms = chance.is(0.5) ? chance.between(50, 3_000) : chance.between(3_000, 60_000);
    this.#later(ms, () => {
      if (hold.over || !this.#isCertain(lease)) return;
      this.#endHold(hold);
      const keys = locks.map(({ identity, mode }) => lockKey(identity, mode, holder));
      this.#release(lease, keys, () => this.#rest(lease));
    });
  }

  /** Until it is answered: deleting twice does no harm, as nothing else is done with this lease meanwhile. */
  #release(lease: bigint, keys: readonly string[], done: () => void): void {
    if (!this.#isCertain(lease)) return;
    this.#ask(this.#anyMember(), { call: 'transaction', request: deleteKeys(keys) }, (answer) => {
      if ('error' in answer) return this.#release(lease, keys, done);
      done();
    });
  }

  /** Ends the session, which has no commands now, and opens another. */
  #finish(lease: bigint): void {
    this.tell(lease, { event: 'end', nowMs: this.nowMs() });
    this.state = undefined;
    this.lease = undefined;
    this.#later(this.#world.chance.between(0, 500), () => this.#openSession());
  }
}

/** Whether two commands must not run at the same time. */
export function conflict(a: Hold, b: Hold): string | undefined {
  return a.locks.find(({ identity, mode }) =>
    b.locks.some((other) => other.identity === identity && !compatible(mode, other.mode)),
  )?.identity;
}
