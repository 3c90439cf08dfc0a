/** What happens, for whoever listens, and the last of it for whoever was away for a moment. */

export interface DaemonEvent {
  /** Grows by one with each event of this process. */
  readonly id: number;
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly event: EventName;
  readonly [fact: string]: unknown;
}

/**
 * Of a hold (`hold` is its id): `granted`, `adopted` after a restart, `extended`, `shrunk`, `suspended`, `resumed`,
 * `handed-over`, `owner-ended`, `released`, `lost` (with `reason`). Of an acquire: `refused`, `waiting`. `lockd`: of
 * libvirt's protocol, with `what`.
 */
export const eventNames = [
  'granted',
  'adopted',
  'extended',
  'shrunk',
  'suspended',
  'resumed',
  'handed-over',
  'owner-ended',
  'released',
  'lost',
  'refused',
  'waiting',
  'lockd',
] as const;
export type EventName = (typeof eventNames)[number];

/** Enough for a client that reconnects at once. */
const rememberedMax = 1_000;

export type EventListener = (event: DaemonEvent) => void;

export class EventLog {
  readonly #listeners = new Set<EventListener>();
  readonly #remembered: DaemonEvent[] = [];
  #lastId = 0;

  add(event: EventName, facts: Readonly<Record<string, unknown>>): void {
    const entry: DaemonEvent = { ...facts, id: ++this.#lastId, time: new Date().toISOString(), event };
    this.#remembered.push(entry);
    if (this.#remembered.length > rememberedMax) this.#remembered.shift();
    for (const listener of this.#listeners) listener(entry);
  }

  /** Of the last event; 0: there was none yet. */
  get lastId(): number {
    return this.#lastId;
  }

  /** Those after an id that are still remembered. An id of an earlier process means all of them. */
  after(id: number): readonly DaemonEvent[] {
    if (id > this.#lastId) return [...this.#remembered];
    // Ids have no gaps.
    const count = this.#lastId - id;
    return count === 0 ? [] : this.#remembered.slice(-count);
  }

  /** Gives what ends it. */
  listen(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
