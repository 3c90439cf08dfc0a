/**
 * In the daemon: somebody has ended its keeper, or the keeper stands still, and another one is started in its place, however
 * often that happens.
 *
 * Invariant: no keeper is started before the one before it has ended. One that is only stopped would start a daemon of its
 * own when it is let go on.
 */
import { closeSync } from 'node:fs';
import { constants } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { monotonicMs } from '../../system/clock.js';
import { hasEnded, openProcess, signalDescriptor, signalProcess } from '../../system/pidfd.js';
import { startKeeper, type KeeperProcess, type StartKeeperOptions } from './start-keeper.js';

export interface ReplaceKeeperOptions extends Pick<StartKeeperOptions, 'keeper' | 'sockets' | 'failed'> {
  /** The one that has started this daemon. */
  readonly current: KeeperProcess | undefined;
  /** A new keeper's ends of the other thread's channel. */
  readonly apiEnds: () => readonly number[];
  /** The keeper with that pid does not read, and is told to go on (`again`: is killed). */
  readonly standsStill: (pid: number, again: boolean) => void;
}

/** One that ends at once is replaced after this, and the next one after twice as long. */
const pauseMsMin = 50;
const pauseMsMax = 1_000;
/** One that lived so long had no trouble starting. */
const soundMs = 2_000;
/** How often it is looked whether a keeper that was killed has ended. */
const lookMs = 5;

export class KeeperReplacement {
  readonly #options: ReplaceKeeperOptions;
  #current: KeeperProcess | undefined;
  #lockdEnds: readonly number[] = [];
  #startedMs = -Infinity;
  #pauseMs = 0;
  #busy = false;

  constructor(options: ReplaceKeeperOptions) {
    this.#options = options;
    this.#current = options.current;
  }

  /**
   * The keeper does not read what a thread tells it, as `ChannelOptions` has it. One that was only stopped goes on, with all it
   * has: that is better than to replace the main process of a service, whose end is the service's.
   */
  rouse(again: boolean): void {
    const { SIGCONT, SIGKILL } = constants.signals;
    if (this.#current === undefined) return;
    const { pid, startTime } = this.#current;
    if (signalProcess(pid, startTime, again ? SIGKILL : SIGCONT)) this.#options.standsStill(pid, again);
  }

  /** @param lockdEnds a new keeper's ends of the lockd thread's channel. */
  async replace(lockdEnds: readonly number[]): Promise<void> {
    // Those before were never given to anybody.
    for (const fd of this.#lockdEnds) closeSync(fd);
    this.#lockdEnds = lockdEnds;
    if (this.#busy) return;
    this.#busy = true;
    // Most of what can go wrong is better after a while: no descriptors are left, or no memory.
    while (!(await this.#start()));
    this.#busy = false;
  }

  async #start(): Promise<boolean> {
    if (monotonicMs() - this.#startedMs >= soundMs) this.#pauseMs = 0;
    await pause(this.#pauseMs);
    this.#pauseMs = Math.min(pauseMsMax, Math.max(pauseMsMin, this.#pauseMs * 2));
    this.#startedMs = monotonicMs();
    let api: readonly number[] = [];
    try {
      await this.#endCurrent();
      api = this.#options.apiEnds();
      this.#current = startKeeper({ ...this.#options, channels: { lockd: this.#lockdEnds, api } });
      this.#lockdEnds = [];
      return true;
    } catch (error) {
      for (const fd of api) closeSync(fd);
      this.#options.failed(error as Error);
      return false;
    }
  }

  /** It has closed its channel, or counts as ended: most often it has. */
  async #endCurrent(): Promise<void> {
    if (this.#current === undefined) return;
    const pidfd = openProcess(this.#current.pid, this.#current.startTime);
    if (pidfd !== undefined) {
      signalDescriptor(pidfd, constants.signals.SIGKILL);
      while (!hasEnded(pidfd)) await pause(lookMs);
      closeSync(pidfd);
    }
    this.#current = undefined;
  }
}
