/**
 * What one registered connection holds, and for which requests: a lease that two requests need is given back with the
 * second. The connection is closed when nothing of it is left.
 */
import { Inheritance } from '../../system/inheritance.js';
import type { LockRequest } from '../../vocabulary.js';
import type { LeaseConnection } from './lease-connection.js';
import { asResource } from './lease-holders.js';
import type { LeaseName } from './libvirt-lease-names.js';
import { leaseKey, type WantedLease } from './wanted-leases.js';

/** What is locked for one request. */
export interface LeasePart {
  readonly request: LockRequest;
  readonly leases: readonly LeaseName[];
  /** Tells whether a command has it still when it is given back here. */
  readonly inheritance: Inheritance;
}

interface Held {
  readonly lease: LeaseName;
  readonly shared: boolean;
  /** The requests that need it. */
  count: number;
}

export class LeaseGroup {
  readonly connection: LeaseConnection;
  readonly #held = new Map<string, Held>();
  #parts = 0;

  constructor(connection: LeaseConnection) {
    this.connection = connection;
  }

  /** What of the wanted is not held yet. */
  missing(wanted: readonly WantedLease[]): readonly WantedLease[] {
    return wanted.filter(({ lease, shared }) => {
      const held = this.#held.get(leaseKey(lease));
      return held === undefined || (held.shared && !shared);
    });
  }

  /** How many leases there would be with these. */
  countWith(wanted: readonly WantedLease[]): number {
    return this.#held.size + wanted.filter(({ lease }) => !this.#held.has(leaseKey(lease))).length;
  }

  /** Puts down what was taken for a request. */
  add(request: LockRequest, leases: readonly LeaseName[], wanted: readonly WantedLease[]): LeasePart {
    for (const lease of leases) {
      const key = leaseKey(lease);
      const held = this.#held.get(key);
      const shared = wanted.find((one) => leaseKey(one.lease) === key)?.shared ?? request.mode === 'shared';
      if (held === undefined) this.#held.set(key, { lease, shared, count: 1 });
      else held.count++;
    }
    this.#parts++;
    return { request, leases, inheritance: new Inheritance() };
  }

  /** All that it has, in the order of taking. */
  all(): readonly { readonly lease: LeaseName; readonly shared: boolean }[] {
    return [...this.#held.values()];
  }

  /**
   * Gives back what no other request needs. `atOnce`: whoever else has the connection; else what a command has
   * inherited is given back when the last that has it ends.
   */
  async giveBack(parts: readonly LeasePart[], atOnce: boolean): Promise<void> {
    const free: LeasePart[] = [];
    let late = atOnce;
    for (const part of parts) {
      if (atOnce) free.push(part);
      part.inheritance.letGo(() => {
        if (atOnce) return;
        // A daemon that does not answer has nothing of it any more.
        if (late) void this.#release([part]).catch(() => undefined);
        else free.push(part);
      });
    }
    late = true;
    await this.#release(free);
  }

  async #release(parts: readonly LeasePart[]): Promise<void> {
    const unneeded: Held[] = [];
    for (const { leases } of parts) {
      for (const lease of leases) {
        const held = this.#held.get(leaseKey(lease));
        if (held === undefined || --held.count > 0) continue;
        this.#held.delete(leaseKey(lease));
        unneeded.push(held);
      }
    }
    this.#parts -= parts.length;
    try {
      await this.connection.release(
        unneeded.toReversed().map(({ lease, shared }) => asResource(lease, shared)),
      );
    } finally {
      if (this.#parts === 0) this.connection.close();
    }
  }
}
