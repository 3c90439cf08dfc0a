/** What the lockd thread counts, in memory that it shares with the main thread: position by name. */
export const counters = [
  'locks',
  'connections',
  'acquired',
  'released',
  'refused',
  'ownersEnded',
  'signals',
  'turnedAway',
  'adopted',
] as const;

export type LockdCounter = (typeof counters)[number];

export function newCounters(): SharedArrayBuffer {
  return new SharedArrayBuffer(counters.length * Int32Array.BYTES_PER_ELEMENT);
}
