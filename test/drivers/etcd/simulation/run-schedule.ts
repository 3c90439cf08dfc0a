/** One schedule: a cluster, some hosts that fight for locks, faults, and the judge that sees all of it in true time. */
import { randomUUID } from 'node:crypto';
import { LockTable, type Session as TableSession } from '../../../../src/drivers/memory/lock-table.js';
import {
  advanceSession,
  startSession,
  wakeAtMs,
} from '../../../../src/drivers/etcd/session/advance-session.js';
import { timingsFrom, type Timings } from '../../../../src/drivers/etcd/timings.js';
import type { Mode } from '../../../../src/vocabulary.js';
import { namedResource, owner } from '../../../driver/named-resource.js';
import { Agenda, Chance } from './agenda.js';
import { planFaults } from './faults.js';
import { ModelEtcd, type ModelAnswer, type ModelCall, type ModelChange } from './model-etcd.js';
import { lockOf, markKey } from './model-locks.js';
import { conflict, SimulatedHost, type Hold, type Lock, type Rules } from './simulated-host.js';

export const theRules: Rules = {
  start: startSession,
  advance: advanceSession,
  wakeAt: wakeAtMs,
  timings: undefined,
  clock: 'boottime',
  serializableRead: false,
};

export interface Verdict {
  readonly seed: number;
  /** What must never be, in the order in which it was seen. */
  readonly faults: readonly string[];
  readonly events: number;
  readonly holds: number;
  readonly refusals: number;
  readonly losses: number;
  readonly leaderChanges: number;
}

/** The way between a host and a member. */
export interface Link {
  canSend: boolean;
  canReceive: boolean;
  /** A message takes so much longer, one way and back. */
  extraMs: number;
  extraBackMs: number;
}

/**
 * Valid timings, some without much room: what a broken rule gains in time shows only there.
 */
const timingsToTry = [
  timingsFrom({}),
  timingsFrom({ renewDeadlineMs: 8_000, graceMs: 1_200, marginMs: 500 }),
  timingsFrom({ renewDeadlineMs: 8_000, renewIntervalMs: 2_500, graceMs: 1_000, marginMs: 200 }),
  timingsFrom({ ttlMs: 5_000 }),
];

const hosts = 4;
const workMs = 120_000;
/** By then every lease has been given back or has expired, and every late request was decided. */
const closingMs = 100_000;
const identities = ['disk-a', 'disk-b', 'disk-c'];
/** What the rates of two clocks differ by at most, each against true time. */
const rateDifference = 0.005;

/** The same seed and rules give the same schedule, event by event. */
export function runSchedule(seed: number, rules: Rules = theRules): Verdict {
  return new Schedule(seed, rules).run();
}

export class Schedule {
  readonly agenda = new Agenda();
  readonly chance: Chance;
  readonly etcd: ModelEtcd;
  readonly hosts: SimulatedHost[] = [];
  readonly links: Link[][];
  readonly #seed: number;
  readonly #timings: Timings;
  readonly #faults: string[] = [];
  readonly #running = new Set<Hold>();
  /** The memory driver's own table, told of each commit: what etcd grants it has to grant too. */
  readonly #table = new LockTable('model');
  readonly #tableSessions = new Map<string, TableSession>();
  /** Marks that are gone, and since when. */
  readonly #goneMarks = new Map<string, number>();
  readonly #watchers = new Set<{ readonly wants: (key: string) => boolean; readonly tell: () => void }>();
  /** For each host and endpoint: since when a renewal through it has to succeed. */
  readonly #wellSince: (number | undefined)[][];
  readonly #wellSpells: { readonly fromMs: number; readonly toMs: number }[][];
  readonly #lossProbability: number;
  #lastLease = 0x100n;
  #isClosing = false;
  #holds = 0;
  #refusals = 0;
  #losses = 0;
  #leaderChanges = 0;

  constructor(seed: number, rules: Rules) {
    this.#seed = seed;
    this.chance = new Chance(seed);
    const { chance, agenda } = this;
    this.#timings = rules.timings ?? chance.oneOf(timingsToTry);
    this.#lossProbability = chance.oneOf([0, 0, 0.001, 0.02]);
    this.links = Array.from({ length: hosts }, () =>
      Array.from({ length: 3 }, () => ({ canSend: true, canReceive: true, extraMs: 0, extraBackMs: 0 })),
    );
    this.#wellSince = this.links.map((row) => row.map(() => undefined));
    this.#wellSpells = this.links.map(() => []);
    this.etcd = new ModelEtcd({
      agenda,
      chance,
      rateDifference,
      onChange: (change) => this.#judgeChange(change),
      onHealth: (leaderChanged) => {
        if (leaderChanged) this.#leaderChanges++;
        this.reconsiderHealth(leaderChanged);
      },
    });
    for (let index = 0; index < hosts; index++) {
      const all = [0, 1, 2].map((one) => (one + index) % 3);
      const rate = 1 + chance.between(-rateDifference, rateDifference);
      this.hosts.push(
        new SimulatedHost(`host${index}`, rate, {
          agenda,
          chance,
          rules,
          timings: this.#timings,
          endpoints: chance.is(0.2) ? all.slice(0, 1) : all,
          identities,
          newLease: () => ++this.#lastLease,
          call: (host, endpoint, call, answer) => this.#send(host, endpoint, call, answer),
          onRun: (hold) => this.#judgeRun(hold),
          onLoss: (host, lease, reason) => this.#judgeLoss(host, lease, reason),
          onceDeleted: (_host, locks, callback) => this.#onceDeleted(locks, callback),
          isClosing: () => this.#isClosing,
        }),
      );
    }
    this.reconsiderHealth(false);
    planFaults(this, workMs);
  }

  run(): Verdict {
    const isOver = (): boolean => this.#faults.length > 0;
    this.agenda.runUntil(workMs, isOver);
    this.#isClosing = true;
    this.agenda.runUntil(workMs + closingMs, isOver);
    if (!isOver()) {
      const left = [...this.etcd.keys.keys()];
      if (left.length > 0) this.#fault(`never given back: ${left.join(', ')}`);
    }
    return {
      seed: this.#seed,
      faults: this.#faults,
      events: this.agenda.done,
      holds: this.#holds,
      refusals: this.#refusals,
      losses: this.#losses,
      leaderChanges: this.#leaderChanges,
    };
  }

  /** The mark of a random session goes, as if somebody had deleted it by hand. */
  deleteMark(): void {
    const { lease } = this.chance.oneOf(this.hosts);
    if (lease !== undefined) this.etcd.deleteByHand(markKey(lease));
  }

  /** Which ways are well: has to be called after every change of what can be reached and who runs. */
  reconsiderHealth(interrupted: boolean): void {
    this.hosts.forEach((host, index) => {
      this.links[index]?.forEach((link, member) => {
        const isWell =
          host.isRunning &&
          host.endpoints.includes(member) &&
          link.canSend &&
          link.canReceive &&
          link.extraMs + link.extraBackMs === 0 &&
          this.etcd.isWell(member);
        if (!isWell || interrupted) this.#interrupt(index, member);
        const row = this.#wellSince[index];
        if (isWell && row !== undefined) row[member] ??= this.agenda.nowMs;
      });
    });
  }

  #interrupt(host: number, member: number): void {
    const row = this.#wellSince[host];
    const fromMs = row?.[member];
    if (row === undefined || fromMs === undefined) return;
    row[member] = undefined;
    this.#wellSpells[host]?.push({ fromMs, toMs: this.agenda.nowMs });
  }

  // --- the network ---------------------------------------------------------------------------------------------------------

  #send(host: SimulatedHost, member: number, call: ModelCall, answer: (answer: ModelAnswer) => void): void {
    const index = this.hosts.indexOf(host);
    const link = this.links[index]?.[member] as Link;
    const back = (what: ModelAnswer): void => {
      const arrive = (): void => {
        if (link.canReceive) answer(what);
      };
      if (!link.canReceive || this.#isDropped(index)) return;
      this.#deliver(link.extraBackMs, arrive);
      // Only what may be told twice: the machine has to bear it.
      if (this.chance.is(0.02)) this.#deliver(link.extraBackMs, arrive);
    };
    if (!link.canSend || this.#isDropped(index)) return;
    const times = call.call === 'keep alive' && this.chance.is(0.02) ? 2 : 1;
    for (let time = 0; time < times; time++) {
      this.#deliver(link.extraMs, () => {
        if (link.canSend) this.etcd.handle(member, call, back);
      });
    }
  }

  /** What is lost may be one round each on every way in turn. */
  #isDropped(host: number): boolean {
    if (!this.chance.is(this.#lossProbability)) return false;
    for (const member of [0, 1, 2]) this.#interrupt(host, member);
    this.reconsiderHealth(false);
    return true;
  }

  #deliver(extraMs: number, action: () => void): void {
    const ms = this.chance.is(0.05) ? this.chance.between(5, 60) : this.chance.between(0.2, 5);
    this.agenda.after(ms + extraMs * this.chance.unit(), action);
  }

  #onceDeleted(locks: readonly Lock[], callback: () => void): void {
    const watcher = {
      wants: (key: string) => locks.some(({ identity }) => lockOf(key)?.identity === identity),
      tell: () => {
        this.#watchers.delete(watcher);
        this.agenda.after(this.chance.between(1, 20), callback);
      },
    };
    this.#watchers.add(watcher);
    this.agenda.after(10_000, () => this.#watchers.delete(watcher));
  }

  // --- the judge -----------------------------------------------------------------------------------------------------------

  #fault(text: string): void {
    this.#faults.push(`at ${this.agenda.nowMs.toFixed(1)} ms: ${text}`);
  }

  /** A command begins to run, or runs on after its host stood still. */
  #judgeRun(hold: Hold): void {
    if (!this.#running.has(hold)) this.#holds++;
    this.#running.add(hold);
    for (const other of this.#running) {
      if (other.over) this.#running.delete(other);
      else if (other.host !== hold.host && !other.host.suspended) {
        const identity = conflict(hold, other);
        if (identity !== undefined) {
          this.#fault(`${hold.host.name} and ${other.host.name} both have ${identity}`);
        }
      }
    }
  }

  #judgeChange(change: ModelChange): void {
    const { key, entry } = change;
    const lock = lockOf(key);
    if (lock === undefined) {
      if (change.change === 'deleted') this.#markGone(key, entry.lease);
      return;
    }
    if (change.change === 'put') {
      if (lock.mode !== 'waiting') this.#judgeGrant(key, { ...lock, mode: lock.mode }, entry.createRevision);
      return;
    }
    if (change.why === 'expired') this.#judgeExpiry(lock.identity, entry.lease);
    const session = this.#tableSessions.get(key);
    if (session !== undefined) this.#table.drop(session, [namedResource(lock.identity).identity]);
    this.#tableSessions.delete(key);
    for (const watcher of this.#watchers) if (watcher.wants(key)) watcher.tell();
  }

  #markGone(key: string, lease: bigint): void {
    this.#goneMarks.set(key, this.agenda.nowMs);
    for (const host of this.hosts) {
      // Its watch tells it, where nothing is in the way.
      if (host.lease === lease && this.chance.is(0.7)) {
        this.agenda.after(this.chance.between(1, 50), () => host.markDeleted(lease));
      }
      if (host.lease === lease) this.#expectLoss(host, lease);
    }
  }

  /** What was confirmed before the mark went is good for so long, and nothing can be confirmed after it. */
  #expectLoss(host: SimulatedHost, lease: bigint): void {
    this.agenda.after(this.#timings.renewDeadlineMs * (1 + 2 * rateDifference), () => {
      // While it starts it may have been written once more.
      const isGone = !this.etcd.keys.has(markKey(lease));
      if (isGone && host.isRunning && host.lease === lease && host.state?.phase === 'certain') {
        this.#fault(`${host.name} goes on with a session whose mark is gone`);
      }
    });
  }

  #judgeGrant(key: string, { identity, mode }: { identity: string; mode: Mode }, revision: number): void {
    const session = this.#table.open(this.#owner);
    const blocked = this.#table.take(session, [{ resource: namedResource(identity), mode }]);
    if (blocked.length > 0) this.#fault(`${key} was granted, the memory model refuses it`);
    this.#tableSessions.set(key, session);
    const holder = key.split('/').at(-1);
    const waiting = [...this.etcd.keys].filter(
      ([one]) => lockOf(one)?.mode === 'waiting' && lockOf(one)?.identity === identity,
    );
    const own = waiting.find(([one]) => one.endsWith(`/${holder}`))?.[1].createRevision ?? revision;
    const older = waiting.filter(([, entry]) => entry.createRevision < own).map(([one]) => one);
    if (older.length > 0) this.#fault(`${key} was granted before ${older.join(', ')}`);
  }
  readonly #owner = owner(randomUUID());

  /** A lease passes: nothing of its holder may run, and it has to count as lost for its host. */
  #judgeExpiry(identity: string, lease: bigint): void {
    for (const hold of this.#running) {
      if (hold.over || hold.lease !== lease || hold.host.suspended) continue;
      if (hold.locks.some((lock) => lock.identity === identity)) {
        this.#fault(`the lease of ${hold.host.name} expired while its command had ${identity}`);
      }
    }
  }

  /** There has to be a reason for a loss: the mark is gone, or no way was well for long enough to renew. */
  #judgeLoss(host: SimulatedHost, lease: bigint, reason: string): void {
    this.#losses++;
    if (this.#goneMarks.has(markKey(lease))) return;
    const index = this.hosts.indexOf(host);
    const { nowMs } = this.agenda;
    const { renewDeadlineMs } = this.#timings;
    const fromMs = Math.max(nowMs - renewDeadlineMs, host.openSinceMs);
    // Three endpoints that may have to be tried in turn, a term that changed in between, and the answers.
    const enoughMs = 0.7 * renewDeadlineMs + 600;
    const open = (this.#wellSince[index] ?? []).flatMap((since) =>
      since === undefined ? [] : [{ fromMs: since, toMs: nowMs }],
    );
    for (const spell of [...(this.#wellSpells[index] ?? []), ...open]) {
      const lengthMs = Math.min(spell.toMs, nowMs) - Math.max(spell.fromMs, fromMs);
      if (lengthMs >= enoughMs) {
        this.#fault(
          `${host.name} lost its session although a way was well for ${lengthMs.toFixed(0)} ms: ${reason}`,
        );
      }
    }
  }
}
