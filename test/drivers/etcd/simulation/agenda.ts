/** What is to happen in a simulated world, in the order of its time, and the chance that decides it: all from one seed. */

/** Numbers that look random and are the same for the same seed (mulberry32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to 1, without 1. */
  unit(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  between(from: number, to: number): number {
    return from + this.unit() * (to - from);
  }

  below(end: number): number {
    return Math.floor(this.unit() * end);
  }

  is(probability: number): boolean {
    return this.unit() < probability;
  }

  oneOf<T>(list: readonly T[]): T {
    const one = list[this.below(list.length)];
    if (one === undefined) throw new Error('an empty list has no one');
    return one;
  }
}

interface Entry {
  readonly atMs: number;
  /** What is due at the same time comes in the order in which it was planned. */
  readonly order: number;
  readonly action: () => void;
}

/** A binary heap of what is still to come. */
export class Agenda {
  readonly #heap: Entry[] = [];
  #order = 0;
  /** True time: no host and no server knows it. */
  nowMs = 0;
  done = 0;

  at(atMs: number, action: () => void): void {
    const entry: Entry = { atMs: Math.max(atMs, this.nowMs), order: this.#order++, action };
    const heap = this.#heap;
    let index = heap.push(entry) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(entry, heap[parent] as Entry)) break;
      heap[index] = heap[parent] as Entry;
      index = parent;
    }
    heap[index] = entry;
  }

  after(ms: number, action: () => void): void {
    this.at(this.nowMs + ms, action);
  }

  /** Does what is due until then, and stops early when `isOver`. */
  runUntil(endMs: number, isOver: () => boolean): void {
    while (!isOver()) {
      const next = this.#heap[0];
      if (next === undefined || next.atMs > endMs) break;
      this.#dropFirst();
      this.nowMs = next.atMs;
      this.done++;
      next.action();
    }
    this.nowMs = Math.max(this.nowMs, endMs);
  }

  #dropFirst(): void {
    const heap = this.#heap;
    const last = heap.pop() as Entry;
    if (heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Entry, heap[child] as Entry)) child++;
      if (!isBefore(heap[child] as Entry, last)) break;
      heap[index] = heap[child] as Entry;
      index = child;
    }
    heap[index] = last;
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
