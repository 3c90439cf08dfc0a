/**
 * `run` with a supervisor: this process stays, keeps the locks for a command that closes its descriptors,
 * and ends only when nobody is left below it.
 *
 * Invariant: the locks are given back only after the last descendant has ended. Three ways lead there:
 * - the command ends by itself: what it left running (a daemon) is waited for;
 * - the supervisor is asked to end (SIGTERM, SIGHUP, SIGINT, SIGQUIT): the signal goes on to the command, and once
 *   that has ended, whatever it left is stopped;
 * - a lock is lost: the command and all its descendants are stopped, or paused, as the caller said.
 */
import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import { HoldfastError } from '../errors.js';
import { becomeSubreaper, hasChildren, reapOrphans } from '../system/descendants.js';
import { findCommand } from '../system/exec.js';
import { ignoredSignals, ignoreSignals } from '../system/signals.js';
import { hearsTerminal } from '../system/terminal.js';
import type { LossAction } from '../vocabulary.js';
import type { Hold } from './hold.js';
import { startSupervised } from './start-supervised.js';
import { pauseDescendants, stopDescendants } from './stop-descendants.js';
import type { SuperviseOptions } from './supervise.js';

const graceMsDefault = 5_000;

/** How often it is asked whether anyone outlives the command: one system call. */
const lookMs = 50;

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
  command: readonly [string, ...string[]],
  options: SuperviseOptions,
): Promise<number> {
  try {
    const file = findCommand(command[0]);
    if (hasChildren()) {
      throw new HoldfastError(
        'USAGE',
        'a command cannot be supervised by a process that has other children',
        {
          remedy: 'Start a process for it, such as `holdfast run --supervise`, or use hold.spawn.',
        },
      );
    }
    becomeSubreaper();
    ignoreSignals(options.launch);
    const start = (): ChildProcess => startSupervised(hold, file, command, options.launch);
    return await new Supervision(hold, options).run(start);
  } finally {
    await hold.release();
  }
}

class Supervision {
  readonly #hold: Hold;
  #child: ChildProcess | undefined;
  readonly #onLost: LossAction;
  readonly #graceMs: number;
  readonly #forwarded: readonly NodeJS.Signals[];
  readonly #askedToEnd = new AbortController();
  /** Signals that came before there was a command to pass them on to. */
  readonly #early: NodeJS.Signals[] = [];

  constructor(hold: Hold, options: SuperviseOptions) {
    const { onLost, graceMs = graceMsDefault, launch } = options;
    const ignored = ignoredSignals(launch);
    this.#hold = hold;
    this.#onLost = onLost ?? hold.plan.onLockFailure ?? 'poweroff';
    this.#graceMs = graceMs;
    this.#forwarded = forwardedSignals.filter((name) => !ignored.includes(constants.signals[name]));
  }

  async run(start: () => ChildProcess): Promise<number> {
    const forward = (signal: NodeJS.Signals): void => this.#forward(signal);
    // Before the start: a signal in the moment after it must not end this process and leave the command alone.
    for (const signal of this.#forwarded) process.on(signal, forward);
    const reap = (): void => reapOrphans(this.#child?.pid);
    process.on('SIGCHLD', reap);
    try {
      this.#child = start();
      for (const signal of this.#early) this.#child.kill(signal);
      const ended = childEnd(this.#child);
      ended.catch(() => undefined); // Awaited below; a loss may come first.
      await Promise.race([ended, this.#loss()]);
      if (this.#hold.signal.aborted) await this.#afterLoss(ended);
      const status = await ended;
      await this.#untilNobodyIsLeft();
      return status;
    } finally {
      for (const signal of this.#forwarded) process.off(signal, forward);
      process.off('SIGCHLD', reap);
    }
  }

  #forward(signal: NodeJS.Signals): void {
    if (endingSignals.includes(signal)) this.#askedToEnd.abort();
    const pid = this.#child?.pid;
    if (pid === undefined) this.#early.push(signal);
    else if (!terminalSignals.includes(signal) || !hearsTerminal(pid)) this.#child?.kill(signal);
  }

  /** Settles at a loss that has to be answered. */
  #loss(): Promise<void> {
    return this.#onLost === 'ignore' ? new Promise(() => undefined) : aborts(this.#hold.signal);
  }

  async #afterLoss(ended?: Promise<number>): Promise<void> {
    if (this.#onLost === 'ignore') return;
    if (this.#onLost === 'pause') {
      await pauseDescendants(this.#child?.pid);
      await Promise.race([ended, aborts(this.#askedToEnd.signal)]);
      if (!this.#askedToEnd.signal.aborted) return;
    }
    await stopDescendants(this.#child?.pid, this.#endingGraceMs());
    // Whoever asked it to end meanwhile wants no restart: then this is the end that was asked for.
    if (this.#onLost === 'restart' && this.#askedToEnd.signal.aborted) return;
    throw this.#hold.signal.reason;
  }

  /** What was paused because its lock is lost must not run again, not even to hear that it is to end. */
  #endingGraceMs(): number {
    return this.#onLost === 'pause' && this.#hold.signal.aborted ? 0 : this.#graceMs;
  }

  async #untilNobodyIsLeft(): Promise<void> {
    for (reapOrphans(undefined); hasChildren(); reapOrphans(undefined)) {
      if (this.#askedToEnd.signal.aborted) return stopDescendants(undefined, this.#endingGraceMs());
      if (this.#hold.signal.aborted && this.#onLost !== 'pause') await this.#afterLoss();
      await new Promise((resolve) => setTimeout(resolve, lookMs));
    }
  }
}

function aborts(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** The status of the command as shells give it. Throws `COMMAND_NOT_FOUND` or `COMMAND_NOT_EXECUTABLE` if it could not be started. */
function childEnd(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', (cause: NodeJS.ErrnoException) => {
      // The file was there a moment ago; ENOENT is its interpreter's. Shells say 127 as well.
      const code = cause.code === 'ENOENT' ? 'COMMAND_NOT_FOUND' : 'COMMAND_NOT_EXECUTABLE';
      reject(new HoldfastError(code, `the command cannot be started: ${cause.message}`, { cause }));
    });
    child.once('exit', (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
}
