/** A hold as plain data, for whoever keeps its descriptors over a restart: with them it can be adopted. */
import type { Mode, Owner, Plan } from '../vocabulary.js';
import type { HoldContents } from './hold.js';

/** Fields are added, never changed. */
export interface SavedHold {
  readonly version: 1;
  readonly id: string;
  readonly owner: Owner;
  /** ISO 8601, UTC. */
  readonly since: string;
  readonly plan: Plan;
  readonly notes: readonly string[];
  /** In the order in which they were acquired; their descriptors stand in this order too, and that of the record last. */
  readonly grants: readonly {
    readonly driver: string;
    /** By the identity of what was granted: how. */
    readonly modes: Readonly<Record<string, Mode>>;
    /** How many descriptors are its. */
    readonly descriptors: number;
  }[];
}

export function savedHold({ id, owner, since, plan, held, notes }: HoldContents): SavedHold {
  return {
    version: 1,
    id,
    owner,
    since,
    plan,
    notes,
    grants: held.map(({ about, grant }) => ({
      driver: about.name,
      modes: Object.fromEntries(grant.requests.map(({ resource, mode }) => [resource.identity, mode])),
      descriptors: grant.descriptors.length,
    })),
  };
}
