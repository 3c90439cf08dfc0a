/**
 * A watchdog device (kernel, Documentation/watchdog/watchdog-api.rst): the host is started anew unless something is written
 * to it in time. It is told to stand still by a 'V' before it is closed; a guard that is killed does not write that, so
 * its end counts as trouble too.
 */
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { monotonicMs } from '../system/clock.js';
import { report } from './guard-channel.js';

/** Devices take 10 s and more until they act. */
const feedMs = 1_000;

export class Watchdog {
  readonly #path: string;
  #fd: number | undefined;
  #fedAtMs = -Infinity;
  #trouble = '';

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Can be called as often as one likes. The first time starts the device; where another guard still has it (`EBUSY`), or it is
   * not there, it is tried again each time.
   */
  feed(): void {
    const now = monotonicMs();
    if (now - this.#fedAtMs < feedMs) return;
    this.#fedAtMs = now;
    try {
      // A stand-in may be a pipe, which must not hold up what comes next.
      this.#fd ??= openSync(this.#path, constants.O_WRONLY | constants.O_NONBLOCK);
      writeSync(this.#fd, '\0');
      this.#trouble = '';
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#trouble) report({ is: 'not fed', message });
      this.#trouble = message;
    }
  }

  /** @param well whether the host can go on without a guard; if not, the device goes on, and acts. */
  close(well: boolean): void {
    if (this.#fd === undefined) return;
    try {
      if (well) writeSync(this.#fd, 'V');
    } catch {
      // Then it acts: a host that has nobody to guard is started anew.
    }
    closeSync(this.#fd);
    this.#fd = undefined;
  }
}
