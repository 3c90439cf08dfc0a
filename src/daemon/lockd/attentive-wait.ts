/**
 * Waits for the next call as who is in a conversation does: libvirt asks again as soon as it has its answer (register,
 * restrict, acquire, acquire, ...), and to sleep and be woken costs more than what it asks for. So after an answer this
 * thread looks again for a moment before it sleeps, as long as looking has been worth it.
 */
import { monotonicMs } from '../../system/clock.js';
import type { Epoll } from '../../system/epoll.js';

/** About what falling asleep and waking up cost. */
const lookMs = 0.05;
/** After a look in vain, so many waits without one; twice as many after the next, and so on up to the other. */
const restMin = 1;
const restMax = 256;

export class AttentiveWait {
  readonly #epoll: Epoll;
  readonly #nowMs: () => number;
  #rest = 0;
  #nextRest = restMin;

  /** `nowMs` is a clock in milliseconds. */
  constructor(epoll: Epoll, nowMs = monotonicMs) {
    this.#epoll = epoll;
    this.#nowMs = nowMs;
  }

  /** As `Epoll.wait`. */
  wait(timeoutMs: number, handle: (fd: number, events: number) => void): number {
    if (timeoutMs !== 0 && this.#isWorthIt()) {
      const untilMs = this.#nowMs() + lookMs;
      do {
        const count = this.#epoll.wait(0, handle);
        if (count === 0) continue;
        this.#nextRest = restMin;
        return count;
      } while (this.#nowMs() < untilMs);
      this.#rest = this.#nextRest;
      this.#nextRest = Math.min(this.#nextRest * 2, restMax);
    }
    return this.#epoll.wait(timeoutMs, handle);
  }

  #isWorthIt(): boolean {
    if (this.#rest === 0) return true;
    this.#rest--;
    return false;
  }
}
