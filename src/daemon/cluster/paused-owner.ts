/**
 * A guest, or the owner of a hold, that is stopped because its lock is lost. It goes on only when the lock is taken again, was nobody
 * else's meanwhile, and it is on its guard's list; what somebody lets go on before is stopped again.
 */
import { constants } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import type { NamedProcess, WitnessedProcess } from '../../guard/guard-words.js';
import { stopTargets } from '../../guard/stop-targets.js';
import { isHoldfastError } from '../../errors.js';
import { signalProcess } from '../../system/pidfd.js';
import { readProcessStat } from '../../system/process.js';
import { ownProcesses } from './own-processes.js';

const { SIGSTOP, SIGCONT } = constants.signals;
/** How often it is tried to take again what was lost, and looked whether who was stopped stays so. */
const retakeMs = 1_000;

export class PausedOwner {
  readonly #owner: WitnessedProcess;
  /** Somebody else has stopped them before, and will let them go on. */
  readonly #others: ReadonlySet<string>;

  /** @param mayBeStopped the guard may have stopped it already: its time is over */
  constructor(owner: WitnessedProcess, mayBeStopped: boolean) {
    this.#owner = owner;
    this.#others = new Set(mayBeStopped ? [] : this.#targets().filter(isStopped).map(keyOf));
    this.stop();
  }

  stop(): void {
    for (const { pid, startTime } of this.#targets()) signalProcess(pid, startTime, SIGSTOP);
  }

  resume(): void {
    for (const one of this.#targets()) {
      if (!this.#others.has(keyOf(one))) signalProcess(one.pid, one.startTime, SIGCONT);
    }
  }

  #targets(): readonly NamedProcess[] {
    return stopTargets(this.#owner, ownProcesses()).all;
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

/** Returns when it goes on, which `goesOn` is told, or there is nobody left. Never throws. */
export async function resumeWhenHeld(paused: PausedOwner, lock: LostLock, goesOn: () => void): Promise<void> {
  for (let taken: Taken = 'not now'; lock.isThere();) {
    if (taken !== 'never') taken = await lock.retake().then(() => 'held', whyNot);
    if (taken === 'held' && lock.isThere() && lock.isHeld()) {
      paused.resume();
      return goesOn();
    }
    await pause(retakeMs, undefined, { ref: false });
    if (lock.isThere()) paused.stop();
  }
}

type Taken = 'held' | 'not now' | 'never';

function whyNot(error: unknown): Taken {
  return isHoldfastError(error, 'LOST') || isHoldfastError(error, 'UNSUPPORTED') ? 'never' : 'not now';
}

function isStopped({ pid }: NamedProcess): boolean {
  return readProcessStat(pid)?.state === 'T';
}

function keyOf({ pid, startTime }: NamedProcess): string {
  return `${pid} ${startTime}`;
}
