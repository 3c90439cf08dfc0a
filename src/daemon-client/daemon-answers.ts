/** What the lock daemon's API gives, as far as clients here use it; its OpenAPI document (GET /openapi.json) has all. */
import type {
  AskedMode,
  ErrorCode,
  Holder,
  LockRequest,
  Mode,
  Owner,
  OwnerDescription,
} from '../vocabulary.js';

/** A hold that the daemon keeps. */
export interface DaemonHold {
  readonly id: string;
  readonly owner: Owner;
  /** ISO 8601, UTC. */
  readonly since: string;
  /** `suspended`: its guest is paused, and nothing is locked. */
  readonly state: 'held' | 'suspended';
  /** Why it can no longer be guaranteed. */
  readonly lost?: string;
  readonly drivers: readonly string[];
  /** What is locked, in which mode. */
  readonly requests: readonly LockRequest[];
  /** Names in the guest (`vda`) by identity. */
  readonly targets: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
  /** Fencing tokens by identity. */
  readonly tokens: Readonly<Record<string, string>>;
  /** The file whose lock keeps the hold after its owner's end. */
  readonly witness?: string;
  /** The owner's process has ended, and whoever keeps the hold's witness locked has the hold. */
  readonly ownerEnded: boolean;
}

/** A lock that libvirt has taken through the daemon. */
export interface DaemonLock {
  /** '': `name` is the path of what is locked. */
  readonly lockspace: string;
  readonly name: string;
  readonly mode: 'exclusive' | 'shared';
  /** ISO 8601, UTC. */
  readonly since: string;
  readonly owners: readonly {
    readonly name: string;
    readonly uuid: string;
    readonly id: number;
    readonly pid: number;
    readonly startTime: number;
  }[];
}

/** The daemon itself. */
export interface DaemonHealth {
  readonly version: string;
  /** Of the process that answers: another one after each restart. */
  readonly pid: number;
  /** Since when it runs: ISO 8601, UTC. */
  readonly since: string;
  /** How often its keeper has started it again. */
  readonly restarts: number;
  readonly holds: number;
  /** Of libvirt's guests. */
  readonly locks: number;
}

/** A driver that the daemon locks with. */
export interface DaemonDriver {
  readonly name: string;
  readonly reach: string;
  readonly modes: readonly Mode[];
  /** The optional functions that it has. */
  readonly abilities: readonly string[];
}

/** How it stands with one resource that was asked about. */
export interface DaemonState {
  readonly identity: string;
  readonly free: boolean;
  readonly reason?: string;
  readonly code?: ErrorCode;
  readonly remedy?: string;
  readonly holders: readonly Holder[];
}

/** What another process has planned, to be locked as it is. */
export interface DaemonRequests {
  readonly requests: readonly LockRequest[];
  readonly owner: OwnerDescription;
}

/** What a guest is made of. Paths are absolute. */
export interface DaemonGuest {
  /** Of domains; where a hold is extended, of single devices as well. */
  readonly xml?: readonly string[];
  readonly domain?: readonly { readonly connect?: string; readonly name: string }[];
  readonly connect?: string;
  readonly disks?: readonly { readonly path: string; readonly mode?: AskedMode; readonly format?: string }[];
  readonly leases?: readonly {
    readonly lockspace: string;
    readonly key: string;
    readonly path?: string;
    /** Bytes. */
    readonly offset?: number;
  }[];
  readonly name?: string;
  readonly owner?: { readonly uuid: string; readonly name: string; readonly id?: number };
}
