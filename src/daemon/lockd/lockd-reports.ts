/** What the thread counts, and what it tells the main one of. */
import { counters, type LockdCounter } from './counters.js';
import type { LockdEvent } from './lockd-event.js';

const counterOf: Readonly<Partial<Record<LockdEvent['what'], LockdCounter>>> = {
  acquired: 'acquired',
  released: 'released',
  refused: 'refused',
  'owner ended': 'ownersEnded',
  'owner signalled': 'signals',
  'connection refused': 'turnedAway',
  'connection closed for what it sent': 'turnedAway',
};

const acquiredAt = counters.indexOf('acquired');
const releasedAt = counters.indexOf('released');

export class LockdReports {
  readonly #count: Int32Array;
  readonly #send: (event: LockdEvent) => void;
  /** Whether what goes well is told as well. */
  everything = false;

  /** @param count one number for each of `counters`. */
  constructor(count: Int32Array, send: (event: LockdEvent) => void) {
    this.#count = count;
    this.#send = send;
  }

  add(what: LockdCounter, by = 1): void {
    const at = counters.indexOf(what);
    this.#count[at] = (this.#count[at] ?? 0) + by;
  }

  tell(what: LockdEvent['what'], facts: object): void {
    const counter = counterOf[what];
    if (counter !== undefined) this.add(counter);
    this.#send({ what, facts: { ...facts } });
  }

  /** What happens some ten thousand times a second. */
  often(what: 'acquired' | 'released', facts: () => object): void {
    const at = what === 'acquired' ? acquiredAt : releasedAt;
    this.#count[at] = (this.#count[at] ?? 0) + 1;
    if (this.everything) this.#send({ what, facts: { ...facts() } });
  }
}
