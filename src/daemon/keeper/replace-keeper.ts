/** In the daemon: somebody has ended its keeper, and another one is started in its place, however often that happens. */
import { closeSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { monotonicMs } from '../../system/clock.js';
import { startKeeper, type StartKeeperOptions } from './start-keeper.js';

export interface ReplaceKeeperOptions extends Pick<StartKeeperOptions, 'keeper' | 'sockets' | 'failed'> {
  /** A new keeper's end of the other thread's channel. */
  readonly apiEnd: () => number;
}

/** One that ends at once is replaced after this, and the next one after twice as long. */
const pauseMsMin = 50;
const pauseMsMax = 1_000;
/** One that lived so long had no trouble starting. */
const soundMs = 2_000;

export class KeeperReplacement {
  readonly #options: ReplaceKeeperOptions;
  #lockdEnd: number | undefined;
  #startedMs = -Infinity;
  #pauseMs = 0;
  #busy = false;

  constructor(options: ReplaceKeeperOptions) {
    this.#options = options;
  }

  /** @param lockdEnd a new keeper's end of the lockd thread's channel. */
  async replace(lockdEnd: number): Promise<void> {
    // The one before was never given to anybody.
    if (this.#lockdEnd !== undefined) closeSync(this.#lockdEnd);
    this.#lockdEnd = lockdEnd;
    if (this.#busy) return;
    this.#busy = true;
    try {
      if (monotonicMs() - this.#startedMs >= soundMs) this.#pauseMs = 0;
      await pause(this.#pauseMs);
      this.#pauseMs = Math.min(pauseMsMax, Math.max(pauseMsMin, this.#pauseMs * 2));
      const api = this.#options.apiEnd();
      const lockd = this.#lockdEnd;
      this.#lockdEnd = undefined;
      this.#startedMs = monotonicMs();
      startKeeper({ ...this.#options, channels: { lockd, api } });
    } finally {
      this.#busy = false;
    }
  }
}
