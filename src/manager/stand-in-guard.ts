/**
 * A guard in place of one that was killed. It cannot be the parent of what runs, which has fallen to the supervisor, so it has a
 * list of that, half a second old at most: what breaks away within that time, and whose supervisor is killed then, it does not know.
 */
import type { Guarantee, GuaranteeTimes } from '../driver/contract.js';
import { belowSpared } from '../guard/below-spared.js';
import { GuardProcess } from '../guard/guard-process.js';
import type { GuardedAction, GuardReport, NamedProcess } from '../guard/guard-words.js';
import { monotonicMs } from '../system/clock.js';
import { childrenHere } from '../system/descendants.js';
import { allThreadsEnded, processStartTime } from '../system/process.js';

const refreshMs = 500;
/** One that is killed again soon is not started again at once, and each time later. */
const restartMsMin = 1_000;
const restartMsMax = 60_000;
/** For a guard that lives, to say that it has read something. */
const answerMsMax = 500;

export class StandInGuard {
  readonly #guarantee: Guarantee;
  readonly #action: GuardedAction;
  #guard: GuardProcess | undefined;
  #self: NamedProcess | undefined;
  #said = '';
  #restartMs = restartMsMin;
  #timer: NodeJS.Timeout | undefined;
  readonly #refreshing: NodeJS.Timeout;
  #over = false;

  constructor(guarantee: Guarantee, action: GuardedAction) {
    this.#guarantee = guarantee;
    this.#action = action;
    this.#refreshing = setInterval(this.#refresh, refreshMs);
    this.#start();
  }

  /** A child of this process, which is none of the command's. */
  get processes(): readonly NamedProcess[] {
    return this.#self === undefined ? [] : [this.#self];
  }

  set times(times: GuaranteeTimes) {
    if (this.#guard !== undefined) this.#guard.times = times;
  }

  /** Returns when whatever it did by earlier times is done. */
  async settled(): Promise<void> {
    const guard = this.#guard;
    if (guard === undefined) return;
    const heard = guard.hear((said): said is GuardReport => said.is === 'guarding', answerMsMax);
    this.#said = '';
    this.#refresh();
    await heard;
  }

  /** Nobody is left. Returns when it is gone. */
  async end(): Promise<void> {
    this.#over = true;
    clearInterval(this.#refreshing);
    clearTimeout(this.#timer);
    this.#guard?.kill();
    await this.#guard?.ended;
  }

  #start(): void {
    const startedAtMs = monotonicMs();
    let guard: GuardProcess;
    try {
      guard = new GuardProcess({ processes: true }, this.#guarantee.times);
    } catch {
      // No descriptors are left, for instance.
      return this.#startLater();
    }
    const { pid } = guard;
    const startTime = pid === undefined ? undefined : processStartTime(pid);
    this.#guard = guard;
    this.#self = pid === undefined || startTime === undefined ? undefined : { pid, startTime };
    this.#said = '';
    void this.#replaceEnded(guard, startedAtMs);
    // A kernel that does not list children cannot tell the guard from who is left (CONFIG_PROC_CHILDREN).
    if (!childrenHere().some((child) => child.pid === pid)) void this.end();
    else this.#refresh();
  }

  async #replaceEnded(guard: GuardProcess, startedAtMs: number): Promise<void> {
    await guard.ended;
    this.#guard = undefined;
    this.#self = undefined;
    if (monotonicMs() - startedAtMs > restartMsMax) this.#restartMs = restartMsMin;
    this.#startLater();
  }

  #startLater(): void {
    if (this.#over) return;
    this.#timer = setTimeout(() => this.#start(), this.#restartMs);
    this.#restartMs = Math.min(restartMsMax, this.#restartMs * 2);
  }

  readonly #refresh = (): void => {
    const action = this.#action;
    const below = belowSpared(process.pid, this.processes).filter((one) => !allThreadsEnded(one));
    const processes = below.map(({ pid, startTime }) => ({
      pid,
      startTime,
      action,
    }));
    const said = JSON.stringify(processes);
    if (said === this.#said) return;
    this.#said = said;
    this.#guard?.order({ do: 'processes', processes });
  };
}
