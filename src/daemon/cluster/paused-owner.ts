/**
 * A guest, or the owner of a hold, that is stopped because its lock is lost. It goes on only when the lock is taken again, was nobody
 * else's meanwhile, and it is on its guard's list; what somebody lets go on before is stopped again.
 *
 * One process can be stopped for several locks: it goes on when all of them are held again, and never if one of them never is. What
 * was stopped before the first of them stays so: whoever did that, an earlier daemon or the guard among them, may have had a reason
 * that is not known here.
 */
import { constants } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import type { NamedProcess, WitnessedProcess } from '../../guard/guard-words.js';
import { hasEnded, stopTargets } from '../../guard/stop-targets.js';
import { isHoldfastError } from '../../errors.js';
import { signalProcess } from '../../system/pidfd.js';
import { readProcessStat } from '../../system/process.js';
import { ownProcesses } from './own-processes.js';

const { SIGSTOP, SIGCONT } = constants.signals;
/** How often it is tried to take again what was lost, and looked whether who was stopped stays so. */
const retakeMs = 1_000;
/** Against one who starts others faster than they can be told to stop. */
const stopRounds = 20;

/** A process that is stopped here. */
interface Stopped {
  readonly process: NamedProcess;
  readonly wasStoppedBefore: boolean;
  /** For whose sake: those that will never let it go on as well. */
  readonly pauses: Set<PausedOwner>;
}

/** Of the whole daemon, by pid and start time: libvirt's guests and the holds of the API can be the same processes. */
const stopped = new Map<string, Stopped>();

export class PausedOwner {
  readonly #owner: WitnessedProcess;
  readonly #isReady: () => boolean;
  #isOver = false;
  #goesOn = false;

  /** @param isReady whether it may go on, as far as its own lock is concerned; missing: never */
  constructor(owner: WitnessedProcess, isReady: () => boolean = () => false) {
    this.#owner = owner;
    this.#isReady = isReady;
    forgetEnded();
    this.stop();
  }

  /** It, or another pause of the same processes, has ended this one, because all their locks were held. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Once it is over. False: somebody else had stopped the owner before. */
  get goesOn(): boolean {
    return this.#goesOn;
  }

  /** Stops again whoever was let go on by others. False: this pause is over, and a new loss needs a new one. */
  stop(): boolean {
    if (this.#isOver) return false;
    // Until none is new: one that is told to stop starts no other any more, but may have since they were listed.
    for (let round = 0; round < stopRounds && this.#stopOnce(); round++);
    return true;
  }

  /** Lets it go on if all that stops it, and stops what goes on with it, is ready. */
  resumeIfReady(): void {
    forgetEnded();
    const together = this.#together();
    if ([...together].some((one) => !one.#isReady())) return;
    for (const one of together) one.#end();
    for (const [key, { process, wasStoppedBefore, pauses }] of stopped) {
      if (![...pauses].some((one) => together.has(one))) continue;
      stopped.delete(key);
      if (!wasStoppedBefore) signalProcess(process.pid, process.startTime, SIGCONT);
    }
  }

  /** Returns whether one of them is new. */
  #stopOnce(): boolean {
    let isNew = false;
    for (const process of this.#targets()) {
      const key = keyOf(process);
      let one = stopped.get(key);
      if (one === undefined) {
        one = { process, wasStoppedBefore: isStopped(process), pauses: new Set() };
        stopped.set(key, one);
        isNew = true;
      }
      one.pauses.add(this);
      signalProcess(process.pid, process.startTime, SIGSTOP);
    }
    return isNew;
  }

  #end(): void {
    this.#isOver = true;
    this.#goesOn = stopped.get(keyOf(this.#owner))?.wasStoppedBefore === false;
  }

  /** All pauses that have a process in common with this one, or with another of them. */
  #together(): ReadonlySet<PausedOwner> {
    const all = new Set<PausedOwner>([this]);
    // A set that grows while it is walked through is walked to its end.
    for (const one of all) {
      for (const { pauses } of stopped.values()) {
        if (pauses.has(one)) for (const other of pauses) all.add(other);
      }
    }
    return all;
  }

  /** None where it is the daemon itself or its keeper: who stands still lets nobody go on. */
  #targets(): readonly NamedProcess[] {
    const own = ownProcesses();
    return own.some(({ pid }) => pid === this.#owner.pid) ? [] : stopTargets(this.#owner, own).all;
  }
}

export interface LostLock {
  /** False: there is nobody left whom it concerns. */
  readonly isThere: () => boolean;
  /** Held again, and certain: asked right before the owner goes on. */
  readonly isHeld: () => boolean;
  /** Returns when it is held and guarded again. Throws `LOST` or `UNSUPPORTED` where it never will be. */
  readonly retake: () => Promise<void>;
}

/**
 * Stops it until its lock is held again. `over` is fulfilled, and never rejected, when it may go on for all its locks, or when there
 * is nobody left: then whoever is stopped stays so.
 */
export function pauseUntilHeld(owner: WitnessedProcess, lock: LostLock): PauseUnderWay {
  let taken: Taken = 'not now';
  const paused = new PausedOwner(owner, () => taken === 'held' && lock.isThere() && lock.isHeld());
  const retake = async (): Promise<void> => {
    while (lock.isThere() && !paused.isOver) {
      if (taken !== 'never') taken = await lock.retake().then(() => 'held', whyNot);
      if (!paused.isOver) paused.resumeIfReady();
      if (!paused.isOver) await pause(retakeMs, undefined, { ref: false });
    }
  };
  // Beside the tries: one of them can take long.
  const again = setInterval(() => lock.isThere() && paused.stop(), retakeMs).unref();
  return { paused, over: retake().finally(() => clearInterval(again)) };
}

export interface PauseUnderWay {
  readonly paused: PausedOwner;
  readonly over: Promise<void>;
}

type Taken = 'held' | 'not now' | 'never';

function whyNot(error: unknown): Taken {
  return isHoldfastError(error, 'LOST') || isHoldfastError(error, 'UNSUPPORTED') ? 'never' : 'not now';
}

function forgetEnded(): void {
  for (const [key, { process }] of stopped) if (hasEnded(process)) stopped.delete(key);
}

function isStopped({ pid }: NamedProcess): boolean {
  return readProcessStat(pid)?.state === 'T';
}

function keyOf({ pid, startTime }: NamedProcess): string {
  return `${pid} ${startTime}`;
}
