/**
 * The dead man's switch of one command: its parent, and the one that orphans below it fall to. It stops the command and
 * all its descendants when the times in the page are over and nobody has moved them on, whatever became of the
 * supervisor; as long as that one does its work, the guard only watches.
 *
 * States:
 *   waiting  -> guarding  told to start the command
 *            -> over      the supervisor is gone, or has no need of it
 *   guarding -> stopping  told so; or the time is over, and the command is to be ended then
 *            -> paused    told so; or the time is over, and the command is to be paused then
 *            -> over      the command has ended, and nobody is left
 *   paused   -> guarding  told that the lock is certain again
 *            -> stopping  told so
 *   stopping -> over      nobody is left
 *
 * When: a supervisor that lives answers a loss itself, so it gets a moment for that after `loseAt`; where it is gone, `loseAt`
 * is the time. SIGKILL comes at `killAt` at the latest, whoever asked for the stop and whatever grace was given.
 */
import { boottimeMs } from '../system/boot-clock.js';
import { becomeSubreaper, hasChildren, reapOrphans } from '../system/descendants.js';
import { keepProgramInMemory, ownSession, raiseAboveOthers } from '../system/hardiness.js';
import { processStartTime } from '../system/process.js';
import type { DeadlinePage } from './deadline-page.js';
import type { GuardedAction, GuardOrder } from './guard-words.js';
import { report } from './guard-channel.js';
import { startCommand, type RunningCommand } from './start-command.js';
import { pauseDescendants, resumePaused, stopDescendants, type Paused } from './stop-descendants.js';

type State = 'waiting' | 'guarding' | 'paused' | 'stopping' | 'over';

/** Timers stand still in suspend, so none is longer. */
const tickMsMax = 200;
/** How often it is asked whether anyone outlives the command; the end of each child is told besides. */
const lookMs = 50;
/** How often it is looked whether what was paused stays so. */
const againMs = 1_000;
/** A command that runs so long is not one that is over at once. */
const settledMs = 2_000;
/** For a supervisor that lives, to answer a loss itself. */
const answerMsMax = 500;
/** Of a stop that nobody gave a time for: somebody has told a guard without supervisor to end. */
const graceMsDefault = 5_000;

export class CommandGuard {
  readonly #page: DeadlinePage;
  readonly #over: () => void;
  #state: State = 'waiting';
  #supervised = true;
  #action: GuardedAction = 'poweroff';
  #command: RunningCommand | undefined;
  #paused: Paused = [];

  /** @param over nothing is left to be done. */
  constructor(page: DeadlinePage, over: () => void) {
    this.#page = page;
    this.#over = over;
    becomeSubreaper();
    process.on('SIGCHLD', () => this.#lookForEnd());
    // The supervisor passes on what it is told; without one, this is who is left to be told.
    process.on('SIGTERM', () => {
      if (!this.#supervised) void this.#stop(this.#state === 'paused' ? 0 : graceMsDefault);
    });
  }

  /** All of them: an end that is left to Node would stand in front of the others until Node has its turn. */
  readonly #reap = (): void => {
    const command = this.#command;
    if (command === undefined) return;
    reapOrphans(undefined, (pid, status) => pid === command.pid && command.noteEnd(status));
  };

  obey(order: GuardOrder): void {
    switch (order.do) {
      case 'start':
        this.#action = order.action;
        return void this.#start(order);
      case 'stop':
        report({ is: 'stopping' });
        return void this.#stop(order.graceMs);
      case 'pause':
        report({ is: 'pausing' });
        return void this.#pause();
      case 'resume':
        return this.#resume();
      case 'end':
        if (this.#state === 'waiting') this.#end();
        return;
      case 'processes':
        return; // An order for the other kind of guard.
    }
  }

  supervisorGone(): void {
    this.#supervised = false;
    if (this.#state === 'waiting') this.#end();
    else this.#beInTime();
  }

  async #start(order: Extract<GuardOrder, { do: 'start' }>): Promise<void> {
    const started = await startCommand(order, (status) => report({ is: 'ended', status }));
    if ('code' in started) {
      report({ is: 'not started', ...started });
      return this.#end();
    }
    this.#command = started;
    this.#state = 'guarding';
    report({ is: 'started', pid: started.pid, startTime: processStartTime(started.pid) ?? 0 });
    // All this after the start, which is waited for, and so that the command gets nothing of it.
    ownSession();
    raiseAboveOthers();
    this.#beInTime();
    setInterval(() => this.#lookForEnd(), lookMs);
    // It takes up to half a second, in which nothing else is done: not in the life of a short command.
    setTimeout(keepProgramInMemory, settledMs);
  }

  /** Acts if the time is over; else comes back when it may be. */
  readonly #beInTime = (): void => {
    if (this.#state !== 'guarding') return;
    const leftMs = this.#actAtMs() - boottimeMs();
    if (leftMs > 0) return void setTimeout(this.#beInTime, Math.min(leftMs, tickMsMax));
    if (this.#action === 'pause') void this.#pause();
    else void this.#stop(Infinity);
  };

  #actAtMs(): number {
    const { loseAtMs, killAtMs } = this.#page.times;
    if (!this.#supervised) return loseAtMs;
    return loseAtMs + Math.min(answerMsMax, (killAtMs - loseAtMs) / 4);
  }

  async #stop(graceMs: number): Promise<void> {
    if (this.#state === 'waiting' || this.#state === 'stopping' || this.#state === 'over') return;
    this.#state = 'stopping';
    const graceEndsAtMs = boottimeMs() + graceMs;
    await stopDescendants(this.#reap, () => {
      const now = boottimeMs();
      return now >= graceEndsAtMs || now >= this.#page.times.killAtMs;
    });
    await this.#command?.ended;
    this.#end();
  }

  async #pause(): Promise<void> {
    if (this.#state !== 'guarding' && this.#state !== 'paused') return;
    const first = this.#state === 'guarding';
    this.#state = 'paused';
    const stopped = await pauseDescendants(this.#reap);
    this.#paused = [...this.#paused, ...stopped];
    if (this.#state !== 'paused') return;
    report({ is: 'paused' });
    if (first) void this.#keepPaused();
  }

  /** `fg` of a shell lets everything in its group go on, and so can anyone: not without the lock. */
  async #keepPaused(): Promise<void> {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, againMs));
      if (this.#state !== 'paused') return;
      this.#paused = [...this.#paused, ...(await pauseDescendants(this.#reap))];
    }
  }

  #resume(): void {
    if (this.#state === 'paused' && boottimeMs() < this.#page.times.loseAtMs) {
      this.#state = 'guarding';
      resumePaused(this.#paused);
      this.#paused = [];
      this.#beInTime();
    }
    report({ is: 'resumed' });
  }

  #lookForEnd(): void {
    this.#reap();
    if (this.#state === 'guarding' || this.#state === 'paused') {
      if (this.#command?.hasEnded === true && !hasChildren()) this.#end();
    }
  }

  #end(): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    this.#over();
  }
}
