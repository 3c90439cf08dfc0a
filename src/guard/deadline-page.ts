/**
 * Until when a hold is certain, in a page of memory that supervisor and guard share.
 *
 * Memory and not a pipe: there is nothing that could be full, and nothing old to be read first. A guard that was stopped
 * for a minute finds the newest times when it goes on, and one that sleeps is not woken by each renewal.
 *
 * Invariant: each time is one number of eight bytes that is stored at once, and none of them ever goes back, so whoever
 * reads between two stores sees times that were, or are, true.
 */
import { mapFile } from '../system/mapped-file.js';
import { newMemoryFile } from '../system/memory-file.js';

/** As `GuaranteeTimes` of the contract, on CLOCK_BOOTTIME. */
export interface DeadlineTimes {
  /** The hold is lost, and whoever has it is told to stop. */
  readonly loseAtMs: number;
  /** Whoever has not stopped is killed. */
  readonly killAtMs: number;
  /** From here on somebody else may have it. */
  readonly endMs: number;
}

const fields = 3;

export class DeadlinePage {
  readonly #numbers: Float64Array;

  /** @param fd of `newDeadlinePage`; it can be closed afterwards. */
  constructor(fd: number) {
    const { bytes } = mapFile(fd, fields * Float64Array.BYTES_PER_ELEMENT);
    this.#numbers = new Float64Array(bytes.buffer, bytes.byteOffset, fields);
  }

  get times(): DeadlineTimes {
    const [loseAtMs = 0, killAtMs = 0, endMs = 0] = this.#numbers;
    return { loseAtMs, killAtMs, endMs };
  }

  set times({ loseAtMs, killAtMs, endMs }: DeadlineTimes) {
    this.#numbers[2] = endMs;
    this.#numbers[1] = killAtMs;
    this.#numbers[0] = loseAtMs;
  }
}

/** A descriptor for the supervisor's page and the guard's. */
export function newDeadlinePage(): number {
  return newMemoryFile('holdfast-deadlines');
}
