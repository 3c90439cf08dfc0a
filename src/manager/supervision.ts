/**
 * `run` with a supervisor: this process stays, keeps the locks for a command that closes its descriptors,
 * and ends only when nobody is left below it.
 *
 * Invariant: the locks are given back only after the last descendant has ended. Three ways lead there:
 * - the command ends by itself: what it left running (a daemon) is waited for;
 * - the supervisor is asked to end (SIGTERM, SIGHUP, SIGINT, SIGQUIT): the signal goes on to the command, and once
 *   that has ended, whatever it left is stopped;
 * - a lock is lost: the command and all its descendants are stopped, or paused, as the caller said. What is paused goes on
 *   only when the lock is taken again and was nobody else's meanwhile.
 * Where locks end by themselves unless they are renewed, a guard (guard/) stands between this process and the command, and
 * does in time what this one cannot do any more.
 */
import { constants } from 'node:os';
import type { Guarantee } from '../driver/contract.js';
import { HoldfastError, isHoldfastError } from '../errors.js';
import { GuardProcess } from '../guard/guard-process.js';
import { boottimeMs } from '../system/boot-clock.js';
import { becomeSubreaper, hasChildren } from '../system/descendants.js';
import { findCommand } from '../system/exec.js';
import { clockTicksPerSecond, readProcessStat } from '../system/process.js';
import { ignoredSignals, ignoreSignals } from '../system/signals.js';
import { hearsTerminal } from '../system/terminal.js';
import type { LossAction } from '../vocabulary.js';
import type { CommandTree } from './command-tree.js';
import { startGuarded } from './guarded-tree.js';
import type { Hold } from './hold.js';
import { requireLossAction, wantedLossAction } from './loss-action.js';
import { ownTree } from './own-tree.js';
import { startSupervised } from './start-supervised.js';
import { supervisedCommand, type SupervisedCommand } from './supervised-command.js';
import type { SuperviseOptions } from './supervise.js';

const graceMsDefault = 5_000;

/** How often it is asked whether anyone outlives the command: one system call. */
const lookMs = 50;

/** How often it is tried to take again what was lost, and looked whether what was paused stays so. */
const retakeMs = 1_000;

const endingSignals: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT'];
const forwardedSignals: readonly NodeJS.Signals[] = [
  ...endingSignals,
  'SIGUSR1',
  'SIGUSR2',
  'SIGCONT',
  'SIGWINCH',
];
/** The terminal sends these to its whole foreground group, so a command in that group has them already. */
const terminalSignals: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT', 'SIGWINCH', 'SIGCONT'];

/** See `superviseCommand`. */
export async function supervise(
  hold: Hold,
  argv: readonly [string, ...string[]],
  options: SuperviseOptions,
): Promise<number> {
  const { guard, launch } = options;
  try {
    requireLossAction(hold.drivers, wantedLossAction(options.onLost, hold.plan));
    const command = supervisedCommand(findCommand(argv[0]), argv, launch);
    if (hasChildren() && guard === undefined) {
      throw new HoldfastError(
        'USAGE',
        'a command cannot be supervised by a process that has other children',
        {
          remedy: 'Start a process for it, such as `holdfast run --supervise`, or use hold.spawn.',
        },
      );
    }
    becomeSubreaper();
    ignoreSignals(launch);
    return await new Supervision(hold, options).run(command);
  } finally {
    guard?.order({ do: 'end' });
    await release(hold, options);
  }
}

async function release(hold: Hold, { onUnreleased }: SuperviseOptions): Promise<void> {
  try {
    await hold.release();
  } catch (error) {
    if (onUnreleased === undefined) throw error;
    onUnreleased(error);
  }
}

class Supervision {
  readonly #hold: Hold;
  readonly #guard: GuardProcess | undefined;
  #tree: CommandTree | undefined;
  readonly #onLost: LossAction;
  readonly #graceMs: number;
  readonly #forwarded: readonly NodeJS.Signals[];
  readonly #askedToEnd = new AbortController();
  #paused = false;
  /** Signals that came before it was known here that the command runs, and when. */
  readonly #early: { readonly signal: NodeJS.Signals; readonly atMs: number }[] = [];

  constructor(hold: Hold, options: SuperviseOptions) {
    const { onLost, graceMs = graceMsDefault, launch, guard } = options;
    const ignored = ignoredSignals(launch);
    this.#hold = hold;
    this.#guard = guard;
    this.#onLost = wantedLossAction(onLost, hold.plan).action;
    this.#graceMs = graceMs;
    this.#forwarded = forwardedSignals.filter((name) => !ignored.includes(constants.signals[name]));
  }

  async run(command: SupervisedCommand): Promise<number> {
    const forward = (signal: NodeJS.Signals): void => this.#forward(signal);
    // Before the start: a signal in the moment after it must not end this process and leave the command alone.
    for (const signal of this.#forwarded) process.on(signal, forward);
    try {
      const tree = await this.#start(command);
      this.#tree = tree;
      for (const { signal, atMs } of this.#early) {
        if (!this.#hasHeard(tree.pid, signal) || atMs < startedByMs(tree.pid)) tree.signal(signal);
      }
      const over = this.#untilNobodyIsLeft(tree);
      over.catch(() => undefined); // Awaited below; a loss may come first.
      while (await this.#isLostBefore(over)) {
        if ((await this.#afterLoss(tree, over)) === 'over') break;
      }
      return await over;
    } finally {
      this.#tree?.leave();
      for (const signal of this.#forwarded) process.off(signal, forward);
    }
  }

  /** What is not to be ended or paused in time needs nobody who does it. */
  async #start(command: SupervisedCommand): Promise<CommandTree> {
    const { guarantee } = this.#hold;
    if (guarantee === undefined || this.#onLost === 'ignore') {
      this.#guard?.order({ do: 'end' });
      await this.#guard?.ended;
      return ownTree(startSupervised(this.#hold, command));
    }
    const early = this.#guard?.hasEnded === false ? this.#guard : undefined;
    const guard = early ?? new GuardProcess({ command: true }, guarantee.times);
    const action = this.#onLost === 'pause' ? 'pause' : 'poweroff';
    return startGuarded(this.#hold, guarantee, guard, command, action);
  }

  #forward(signal: NodeJS.Signals): void {
    if (endingSignals.includes(signal)) this.#askedToEnd.abort();
    const tree = this.#tree;
    if (tree === undefined) this.#early.push({ signal, atMs: boottimeMs() });
    // What is paused must not go on, not even to hear something.
    else if (!this.#paused && !this.#hasHeard(tree.pid, signal)) tree.signal(signal);
  }

  #hasHeard(command: number, signal: NodeJS.Signals): boolean {
    return terminalSignals.includes(signal) && hearsTerminal(command);
  }

  /** Gives the command's status when nobody is left. */
  async #untilNobodyIsLeft(tree: CommandTree): Promise<number> {
    const status = await tree.ended;
    // Mostly it is empty in a moment.
    if (!tree.isEmpty() && tree.emptied !== undefined) await Promise.race([tree.emptied, pause(lookMs)]);
    while (!tree.isEmpty()) {
      if (this.#askedToEnd.signal.aborted) await tree.stop(this.#endingGraceMs());
      else await pause(lookMs);
    }
    return status;
  }

  async #isLostBefore(over: Promise<number>): Promise<boolean> {
    if (this.#onLost === 'ignore') return false;
    const lost = aborts(this.#hold.signal).then(() => true);
    return Promise.race([over.then(() => false), lost]);
  }

  /**
   * `held`: it is held again, and goes on. `over`: nobody is left, and that is the end that somebody wanted. Throws the loss
   * where it is what ended the command.
   */
  async #afterLoss(tree: CommandTree, over: Promise<number>): Promise<'held' | 'over'> {
    const { reason } = this.#hold.signal;
    const paused = this.#onLost === 'pause' ? await this.#pauseUntilHeld(tree, over) : 'asked to end';
    if (paused !== 'asked to end') return paused;
    await tree.stop(this.#endingGraceMs());
    // Whoever asked it to end meanwhile wants no restart: then this is the end that was asked for.
    if (this.#onLost === 'restart' && this.#askedToEnd.signal.aborted) return 'over';
    throw reason;
  }

  async #pauseUntilHeld(tree: CommandTree, over: Promise<number>): Promise<'held' | 'over' | 'asked to end'> {
    this.#paused = true;
    const { pauseGuests } = await import('./pause-guests.js');
    const guests = await pauseGuests(this.#hold.guarantee);
    await tree.pause();
    const ended = over.then(() => 'over' as const);
    const asked = aborts(this.#askedToEnd.signal).then(() => 'asked to end' as const);
    for (let mayTry = true; ;) {
      if (mayTry) {
        const taken = await this.#retake();
        if (taken === 'yes') {
          this.#paused = false;
          await tree.resume();
          await guests.resume();
          return 'held';
        }
        mayTry = taken === 'not now';
      }
      const next = await Promise.race([ended, asked, pause(retakeMs)]);
      if (next !== undefined) return next;
      await tree.pause();
    }
  }

  async #retake(): Promise<'yes' | 'not now' | 'never'> {
    try {
      await this.#hold.retake(this.#askedToEnd.signal);
      return 'yes';
    } catch (error) {
      return isHoldfastError(error, 'LOST') || isHoldfastError(error, 'UNSUPPORTED') ? 'never' : 'not now';
    }
  }

  /** What was paused because its lock is lost must not run again, not even to hear that it is to end. */
  #endingGraceMs(): number {
    if (this.#paused) return 0;
    const { guarantee } = this.#hold;
    return this.#hold.signal.aborted ? Math.min(this.#graceMs, leftMs(guarantee)) : this.#graceMs;
  }
}

/** From when on it has surely run; never, if it has ended. In ms since the host was booted, as `boottimeMs`. */
function startedByMs(pid: number): number {
  const startTime = readProcessStat(pid)?.startTime;
  return startTime === undefined ? Infinity : ((startTime + 1) * 1000) / clockTicksPerSecond;
}

/** Until whoever has a lost lock is killed. */
function leftMs(guarantee: Guarantee | undefined): number {
  return guarantee === undefined ? Infinity : Math.max(0, guarantee.times.killAtMs - boottimeMs());
}

function pause(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), ms));
}

function aborts(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
