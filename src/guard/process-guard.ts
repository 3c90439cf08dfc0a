/**
 * The dead man's switch of a host: processes that somebody else has started, all of them under the locks of one daemon, which
 * says which ones. When the times in the page are over it ends them, with what is below each; and it feeds the watchdog
 * device for as long as that is not needed, or has been done.
 *
 * States:
 *   certain -> lost     `loseAt` is over, and the daemon has not moved it on
 *   lost    -> certain  it has, after all
 *   either  -> over     told so
 * In `lost`, whoever is on the list and still runs is told to end: SIGTERM once, by a daemon that lives or, where that is
 * gone, from here; SIGKILL from `killAt` on, again and again until it is gone. Who is to be paused is stopped at `killAt`.
 *
 * A daemon that ends does not end the guard, which does its work when the time is over. The next daemon, if it still has the
 * locks, starts a guard of its own and sends SIGTERM to this one, which then ends and touches nobody.
 */
import { constants } from 'node:os';
import { boottimeMs } from '../system/boot-clock.js';
import { closeDescriptor } from '../system/descriptors.js';
import { keepProgramInMemory, ownSession, raiseAboveOthers } from '../system/hardiness.js';
import { openProcess, signalDescriptor, signalProcess } from '../system/pidfd.js';
import { processStartTime, readProcessStat } from '../system/process.js';
import type { DeadlinePage } from './deadline-page.js';
import { report } from './guard-channel.js';
import type { GuardedProcess, GuardOrder, NamedProcess } from './guard-words.js';
import { hasEnded, stopTargets } from './stop-targets.js';
import { Watchdog } from './watchdog.js';

const { SIGTERM, SIGKILL, SIGSTOP, SIGCONT } = constants.signals;

/** Timers stand still in suspend, so none is longer. */
const tickMsMax = 200;
/** Between two tries to end the same processes: each reads all of /proc. */
const sweepMs = 50;
/** How much longer than such a try it rests. */
const restFactor = 4;

interface Guarded extends GuardedProcess {
  /** Names the process for good, and was opened while it lived. Undefined: it has ended, and others keep its witness. */
  readonly pidfd: number | undefined;
}

export class ProcessGuard {
  readonly #page: DeadlinePage;
  readonly #watchdog: Watchdog | undefined;
  readonly #over: () => void;
  #guarded: readonly Guarded[] = [];
  /** By `keyOf`, both. */
  readonly #asked = new Set<string>();
  readonly #told = new Set<string>();
  #supervised = true;
  readonly #self: NamedProcess = { pid: process.pid, startTime: processStartTime(process.pid) ?? 0 };
  #spared: readonly NamedProcess[] = [this.#self];

  /** @param watchdog path of the device; undefined or empty: there is none. */
  constructor(page: DeadlinePage, watchdog: string | undefined, over: () => void) {
    this.#page = page;
    this.#over = over;
    if (watchdog !== undefined && watchdog !== '') this.#watchdog = new Watchdog(watchdog);
    ownSession();
    raiseAboveOthers();
    process.on('SIGTERM', () => {
      if (!this.#supervised) this.#end();
    });
    report({ is: 'guarding', count: 0 });
    setImmediate(this.#tick);
    setImmediate(keepProgramInMemory);
  }

  obey(order: GuardOrder): void {
    if (order.do === 'processes') {
      this.#spared = [this.#self, ...(order.spared ?? [])];
      this.#guard(order.processes);
    } else if (order.do === 'end') this.#end();
  }

  supervisorGone(): void {
    this.#supervised = false;
  }

  #guard(processes: readonly GuardedProcess[]): void {
    const known = new Map(this.#guarded.map((one) => [keyOf(one), one]));
    const stoppable = processes.filter(({ pid }) => !this.#spared.some((one) => one.pid === pid));
    this.#guarded = stoppable.flatMap((one) => {
      const before = known.get(keyOf(one));
      known.delete(keyOf(one));
      const pidfd = before?.pidfd ?? openProcess(one.pid, one.startTime);
      return pidfd === undefined && one.witness === undefined ? [] : [{ ...one, pidfd }];
    });
    for (const one of known.values()) this.#forget(one);
    report({ is: 'guarding', count: this.#guarded.length });
  }

  readonly #tick = (): void => {
    const now = boottimeMs();
    const { loseAtMs, killAtMs } = this.#page.times;
    this.#forgetEnded(now >= killAtMs);
    const lost = now >= loseAtMs;
    if (lost && !this.#supervised && now < killAtMs) this.#ask();
    if (now >= killAtMs) this.#act();
    if (!lost) this.#told.clear();
    // While all is well, or nobody is left who could do harm: a host on which killing has failed is to be started anew.
    if (!lost || !this.#guarded.some(isDangerous)) this.#watchdog?.feed();
    if (!this.#supervised && this.#guarded.length === 0) return this.#end();
    // On a host with many processes a look takes a while, and this comes before all others.
    const againMs = Math.max(sweepMs, (boottimeMs() - now) * restFactor);
    const nextMs = !lost ? loseAtMs - now : now < killAtMs ? killAtMs - now : againMs;
    setTimeout(this.#tick, Math.min(nextMs, tickMsMax));
  };

  #ask(): void {
    for (const one of this.#guarded) {
      if (one.action !== 'poweroff' || this.#asked.has(keyOf(one))) continue;
      this.#asked.add(keyOf(one));
      for (const { pid, startTime } of stopTargets(one, this.#spared).roots) {
        signalProcess(pid, startTime, SIGTERM);
        signalProcess(pid, startTime, SIGCONT);
      }
    }
  }

  #act(): void {
    for (const one of this.#guarded) {
      const { pid, pidfd, action } = one;
      const signal = action === 'pause' ? SIGSTOP : SIGKILL;
      // Those below are found while it lives: what it leaves behind falls to somebody else.
      const { all } = stopTargets(one, this.#spared);
      if (pidfd !== undefined) signalDescriptor(pidfd, signal);
      for (const { pid: other, startTime } of all) signalProcess(other, startTime, signal);
      if (this.#told.has(keyOf(one))) continue;
      this.#told.add(keyOf(one));
      report({ is: action === 'pause' ? 'stopped' : 'killed', pids: [pid] });
    }
  }

  /** Who keeps a witness is looked for only when it matters: it takes a walk through all descriptors of the host. */
  #forgetEnded(isTimeToKill: boolean): void {
    const isOver = (one: Guarded): boolean =>
      hasEnded(one) &&
      (one.witness === undefined || (isTimeToKill && stopTargets(one, this.#spared).roots.length === 0));
    const left = this.#guarded.filter((one) => !isOver(one));
    if (left.length === this.#guarded.length) return;
    for (const one of this.#guarded) if (!left.includes(one)) this.#forget(one);
    this.#guarded = left;
  }

  #forget(one: Guarded): void {
    this.#asked.delete(keyOf(one));
    this.#told.delete(keyOf(one));
    if (one.pidfd !== undefined) closeDescriptor(one.pidfd);
  }

  #end(): void {
    this.#watchdog?.close(boottimeMs() < this.#page.times.loseAtMs || this.#guarded.length === 0);
    this.#over();
  }
}

function keyOf({ pid, startTime, action, witness = '' }: GuardedProcess): string {
  return `${pid} ${startTime} ${action} ${witness}`;
}

/** One that is to be paused, and is, does no harm. */
function isDangerous(one: GuardedProcess): boolean {
  return one.action !== 'pause' || readProcessStat(one.pid)?.state !== 'T';
}
