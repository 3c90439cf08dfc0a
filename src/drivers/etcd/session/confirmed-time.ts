/**
 * The time of the last confirmed renewal, in memory that threads share: whoever looks sees the last one, also when no message
 * about it was taken yet.
 */

/** Microseconds, as a whole number: only those are written and read as one. */
export function newConfirmed(confirmedAtMs: number): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT);
  writeConfirmed(memory, confirmedAtMs);
  return memory;
}

/** Milliseconds on CLOCK_BOOTTIME; earlier ones than the last change nothing. */
export function writeConfirmed(memory: SharedArrayBuffer, confirmedAtMs: number): void {
  const cell = new BigInt64Array(memory);
  // Rounded down: a deadline may come early, not late.
  const next = BigInt(Math.floor(confirmedAtMs * 1000));
  for (let last = Atomics.load(cell, 0); next > last; last = Atomics.load(cell, 0)) {
    if (Atomics.compareExchange(cell, 0, last, next) === last) return;
  }
}

export function readConfirmed(memory: SharedArrayBuffer): number {
  return Number(Atomics.load(new BigInt64Array(memory), 0)) / 1000;
}
