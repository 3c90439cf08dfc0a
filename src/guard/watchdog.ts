/**
 * A watchdog device (kernel, Documentation/watchdog/watchdog-api.rst): the host is started anew unless something is written
 * to it in time. It is told to stand still by a 'V' before it is closed; a guard that is killed does not write that, so
 * its end counts as trouble too.
 */
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { monotonicMs } from '../system/clock.js';

/** Devices take 10 s and more until they act. */
const feedMs = 1_000;

export class Watchdog {
  readonly #fd: number;
  #fedAtMs = -Infinity;

  /** Opening starts the device. Throws what open(2) says. */
  constructor(path: string) {
    this.#fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  }

  /** Can be called as often as one likes. */
  feed(): void {
    const now = monotonicMs();
    if (now - this.#fedAtMs < feedMs) return;
    this.#fedAtMs = now;
    this.#write('\0');
  }

  /** @param well whether the host can go on without a guard; if not, the device goes on, and acts. */
  close(well: boolean): void {
    if (well) this.#write('V');
    closeSync(this.#fd);
  }

  #write(text: string): void {
    try {
      writeSync(this.#fd, text);
    } catch {
      // The next time comes before the device acts.
    }
  }
}
