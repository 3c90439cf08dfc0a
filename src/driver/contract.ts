/**
 * The contract between the manager and a lock driver.
 *
 * Every driver has `acquire`, `release` and `holders`, for ever. All else is optional: whether a driver can
 * do it is whether the function is there (`driver.offer !== undefined`), as `dlsym` would say. There is no
 * version and no negotiation: functions are added, never changed.
 */
import type { HoldfastError } from '../errors.js';
import type {
  ErrorCode,
  Holder,
  LockRequest,
  Loss,
  LossAction,
  Mode,
  Owner,
  Resource,
} from '../vocabulary.js';

/** What a driver says of itself. */
export interface DriverAbout {
  /** Lower-case letters, digits and dashes. */
  readonly name: string;
  /** How far its locks reach: nobody, this process alone, programs on this host, everyone on the same file system, a cluster. */
  readonly reach: 'none' | 'process' | 'host' | 'file system' | 'cluster';
  /** The modes that it can tell apart. What it cannot express, it refuses or maps to a stricter one, and `mapRequest` says so. */
  readonly modes: readonly Mode[];
  /** One line each. */
  readonly guarantees: readonly string[];
  readonly doesNotGuarantee: readonly string[];
  /** Whether Holdfast has to stay beside the command (a lock that must be renewed), or the command can hold alone. */
  readonly supervise: boolean;
  /**
   * Its grants end by themselves unless they are renewed (`Grant.guarantee`). Said here too, what needs a moment to start
   * can be started meanwhile. Missing: not known before the grant.
   */
  readonly renews?: boolean;
  /**
   * Its technology ends holders by itself when it cannot keep their locks. These are the actions that it leaves time for, and that it
   * sees to where nobody stays beside the command (`AcquireOptions.onLost`); others are refused before anything is locked.
   * Missing: whoever stays beside the command does what he likes, and without him nothing is done.
   */
  readonly lossActions?: readonly LossAction[];
  /** It leaves holding to somebody who can be told what is to become of the owner (`AcquireOptions.lossWish`). */
  readonly passesLossWish?: boolean;
}

/** What a driver gives for an `acquire`: all the requests, granted. */
export interface Grant {
  /** What was granted; the manager compares it with what it asked for. */
  readonly requests: readonly LockRequest[];
  /** Descriptors that keep the locks for whoever inherits them; empty if there are none. */
  readonly descriptors: readonly number[];
  /** Fencing tokens by identity: `cluster:revision`, or whatever the technology has. */
  readonly tokens: Readonly<Record<string, string>>;
  /** Settles (never rejects) when the grant can no longer be guaranteed. Missing: it cannot be lost. */
  readonly lost?: Promise<Loss>;
  /** Of a grant that ends by itself unless it is renewed: until when it is certain. Missing: it does not end by itself. */
  readonly guarantee?: Guarantee;
  /** What the plan should say of this grant (`libvirt's settings could not be seen`). */
  readonly notes?: readonly string[];
}

/**
 * How long a grant is certain, as of the last confirmed renewal. It moves on with each of them, and never back. Grants that are
 * renewed together may have the same one.
 */
export interface Guarantee {
  readonly times: GuaranteeTimes;
  /** Calls `listener` after each renewal; gives a function that ends that. */
  onRenewal(listener: (times: GuaranteeTimes) => void): () => void;
}

/** Milliseconds on CLOCK_BOOTTIME, which counts the time in suspend: `boottimeMs` of `system/boot-clock`. */
export interface GuaranteeTimes {
  /** The grant counts as lost (`Grant.lost` settles) and its holder is told to stop. */
  readonly loseAtMs: number;
  /** A holder that has not stopped is killed. */
  readonly killAtMs: number;
  /** From here on somebody else may have it: nothing of the holder may run any more. */
  readonly endMs: number;
}

export interface AcquireOptions {
  /** When it is aborted the driver may stop early; if it grants all the same, the manager releases the grant. */
  readonly signal: AbortSignal;
  /**
   * The descriptors are duplicated to a keeper outside this process, and inherited by nobody: giving the grant back has
   * to unlock, because closing frees nothing while a duplicate is open. Missing: closing only, so that a command which
   * inherited a descriptor keeps its lock.
   */
  readonly unlockOnRelease?: boolean;
  /**
   * What `inquire` of an earlier holder gave, on whichever host: throws `LOST`, and holds nothing, unless it can be said that
   * nobody but that holder had what is asked for since then in a mode that would have kept it out. `BAD_DATA` for what is no such
   * state, or says nothing of something that is asked for. For `acquire` and `accept`, of drivers that have `inquire`.
   */
  readonly state?: string;
  /**
   * Of drivers with `lossActions`, one of those: this process becomes the command, so that nobody hears of a loss; the driver is to see to
   * it that this is done to the command and all that it has started. Missing: whoever asks stays, hears of it by `Grant.lost` and acts.
   */
  readonly onLost?: LossAction;
  /**
   * Of drivers with `passesLossWish`: what somebody has said is to become of the owner when the grant is lost. Throws `UNSUPPORTED`, and
   * holds nothing, where that cannot be done. `supervised`: somebody stays beside the owner as well, hears of `Grant.lost`, and starts
   * it again by himself where it is to be started again. Missing: nobody has said anything.
   */
  readonly lossWish?: { readonly action: LossAction; readonly supervised: boolean };
  /** Called when the acquire has to wait for something slow of the technology itself (joining a lockspace). */
  readonly progress?: (progress: AcquireProgress) => void;
}

/** What an acquire is waiting for. */
export interface AcquireProgress {
  /** In words, without a time (`joining the lockspace a as host 1`). */
  readonly what: string;
  /** How long that takes, from its beginning: if all is well, and at most. */
  readonly expectedMs: number;
  readonly mostMs: number;
}

/** A handover that was offered and can be accepted by the process that gets this. Plain data. */
export type Offer = Readonly<Record<string, string>>;

/** The functions of a started driver. */
export interface Driver {
  /**
   * Takes all the requests or none. Requests are sorted by identity and name each identity once.
   * Does not wait: throws `IN_USE` (with `resource` as written and the holders that it knows) at once.
   */
  acquire(owner: Owner, requests: readonly LockRequest[], options: AcquireOptions): Promise<Grant>;
  /** Gives back a grant. Giving back twice is no error. */
  release(grant: Grant): Promise<void>;
  /** Who holds a resource, as far as this technology can tell. Nobody: an empty list. */
  holders(resource: Resource): Promise<readonly Holder[]>;

  /** Adds requests to a grant, all or none; gives the grant that takes its place. */
  extend?(
    grant: Grant,
    owner: Owner,
    requests: readonly LockRequest[],
    options: AcquireOptions,
  ): Promise<Grant>;
  /** Gives back some identities of a grant; gives the grant that takes its place. */
  shrink?(grant: Grant, identities: readonly string[]): Promise<Grant>;
  /**
   * As `shrink`, but for a moment only the same guest can take what is given back: whoever asks for it with the uuid of
   * this grant's owner, on whichever host. Anyone else is refused. For a migration, whose one side gives back before the other
   * takes.
   */
  reserve?(grant: Grant, identities: readonly string[]): Promise<Grant>;
  /** Gives the locks back while the guest is paused, and remembers what is needed to resume. */
  suspend?(grant: Grant): Promise<void>;
  /**
   * Takes them again; throws `LOST` if someone else had them in between. Also of a grant that is lost (`Grant.lost` has
   * settled), by which nothing runs any more: only if nobody has had it since.
   */
  resume?(grant: Grant, options: AcquireOptions): Promise<Grant>;
  /** Offers the grant to a receiver; it stays held until the offer is accepted. */
  offer?(grant: Grant): Promise<Offer>;
  /** Takes an offered grant over without a gap. */
  accept?(offer: Offer, owner: Owner, options: AcquireOptions): Promise<Grant>;
  /** Takes an offer back; the grant stays with who made it. */
  cancel?(grant: Grant, offer: Offer): Promise<void>;
  /** State that travels along with a migration, one string: of a grant that is held or suspended. See `AcquireOptions.state`. */
  inquire?(grant: Grant): Promise<string>;
  /**
   * Takes up a grant after the manager restarted, from what its record says and the descriptors that were kept, which are
   * the grant's from then on; as with `unlockOnRelease`. Without descriptors nobody was left to keep the locks: takes
   * them again if nobody else has them. Throws if not all of it is held then, and leaves the descriptors to the caller.
   */
  adopt?(owner: Owner, requests: readonly LockRequest[], descriptors: readonly number[]): Promise<Grant>;
  /**
   * Ends somebody's lock, on evidence that is logged. With `proof`, only if the holder's lease is gone or it is of the host that
   * is said to be dead: else throws `IN_USE`.
   */
  breakLock?(resource: Resource, evidence: string, proof?: BreakProof): Promise<void>;
  /** How each server of its engine is. */
  examine?(): Promise<readonly ClusterServer[]>;
  /** Every hold in the cluster, and who waits. */
  clusterHolds?(): Promise<readonly ClusterHold[]>;
  /**
   * Makes a lease that nobody has, or a lockspace, on storage that hosts share. One of the same name in that place stays as it
   * is, without `force`; what anybody holds always does. Throws `IN_USE` if something else is there, or somebody holds it.
   */
  makeLease?(area: LeaseArea, options: MakeLeaseOptions): Promise<MadeLeaseArea>;
  /** The leases and lockspaces in a file or device; with an offset, the one there. */
  readLeases?(place: LeasePlace): Promise<readonly FoundLeaseArea[]>;
  /** Returns when it is worth asking again; better than polling. */
  wait?(owner: Owner, requests: readonly LockRequest[], options: AcquireOptions): Promise<void>;
  /** How it would lock a request: the mode that it really takes, or why it cannot. Missing: as asked, if `about.modes` has it. */
  mapRequest?(request: LockRequest): MappedRequest;
  /** Tries whether a request would be granted now, and takes nothing. Missing: the manager asks `holders`. */
  probe?(requests: readonly LockRequest[]): Promise<readonly ProbeResult[]>;
  /** What the user should know of the driver's surroundings (`qemu.conf could not be read`). */
  notes?(): readonly string[];
  /** Removes what a holder that died left behind (an empty lock file); touches nothing that is held. */
  tidy?(requests: readonly LockRequest[]): Promise<void>;
  /** The driver is no longer needed: give back what it needed for itself. */
  end?(): Promise<void>;
}

export interface BreakProof {
  /** By name or id: somebody has made certain that nothing of it runs any more. */
  readonly deadHost?: string;
}

/** A server of a driver's engine, as seen from here. */
export interface ClusterServer {
  /** Where it is. */
  readonly name: string;
  readonly answers: boolean;
  /** A majority of the servers is with it. */
  readonly decides: boolean;
  readonly version?: string;
  /** What is to be said of that version. */
  readonly note?: string;
  /** It refuses to write, for want of space. */
  readonly full: boolean;
  readonly error?: string;
}

/** What one owner has in the cluster by one grant. What cannot be read of it is missing, or `?`. */
export interface ClusterHold {
  readonly host: string;
  readonly hostId: string;
  /** The guest's, or what the command is called. */
  readonly name: string;
  /** The name, of a guest. */
  readonly guest?: string;
  readonly uuid?: string;
  readonly pid?: number;
  readonly startTime?: number;
  readonly program?: string;
  /** ISO 8601, UTC. */
  readonly since?: string;
  readonly locks: readonly ClusterLock[];
}

export interface ClusterLock {
  /** What it is called in the cluster. */
  readonly identity: string;
  /** As the holder wrote it. */
  readonly label: string;
  readonly mode: Mode | 'waiting';
  /** The second part of the fencing token. */
  readonly revision: number;
}

/** A file or device, and bytes from its beginning. */
export interface LeasePlace {
  readonly path: string;
  readonly offset?: number;
}

/** Where a lease is kept on storage that hosts share; without a name, a lockspace. */
export interface LeaseArea {
  readonly lockspace: string;
  readonly name?: string;
  readonly path: string;
  /** Bytes. */
  readonly offset: number;
}

export interface MakeLeaseOptions {
  /** Also where something else is, and anew where the same is; never what somebody holds. */
  readonly force: boolean;
  /** Of the storage, and how much the area takes. Default: as its lockspace has them where that is in the same place, else as the storage does. */
  readonly sectorBytes?: number;
  readonly bytes?: number;
}

export interface MadeLeaseArea {
  readonly area: FoundLeaseArea;
  /** False: it was there already. */
  readonly made: boolean;
}

/** A lease or lockspace as it stands on the storage. */
export interface FoundLeaseArea extends LeaseArea {
  readonly bytes: number;
  readonly sectorBytes: number;
  /** Of a lease: it grows with every owner. */
  readonly version?: string;
  /** Who has the lease, or the hosts that are in the lockspace. */
  readonly hosts: readonly LeaseHost[];
}

export interface LeaseHost {
  readonly hostId: number;
  /** How often that number has been taken. */
  readonly generation: string;
  /** As it calls itself. Missing: not known here. */
  readonly name?: string;
  /** Of a lease. */
  readonly mode?: 'exclusive' | 'shared';
  /** `gone`: it has left, or come back since. `unknown`: this host does not watch that lockspace. */
  readonly state: 'alive' | 'failing' | 'dead' | 'gone' | 'unknown';
}

export type MappedRequest =
  | { readonly can: true; readonly mode: Mode; readonly note?: string }
  | {
      readonly can: false;
      readonly reason: string;
      readonly remedy?: string;
      /** What to throw instead of `CANNOT_LOCK`: it is a mistake of whoever asks, no limit of this technology. */
      readonly code?: ErrorCode;
    };

export interface ProbeResult {
  readonly identity: string;
  readonly free: boolean;
  readonly holders: readonly Holder[];
  /** Why not, where nobody is in the way: what `acquire` would throw. */
  readonly error?: HoldfastError;
}

/** Settings of one driver: the table `[driver.NAME]` of the configuration, and what the command line adds. */
export type DriverSettings = Readonly<Record<string, unknown>>;

/** A driver before its first use. */
export interface DriverFactory {
  readonly about: DriverAbout;
  /** Starts it. Called once, at first use; a failed start is tried again at the next use. */
  start(settings: DriverSettings): Promise<Driver> | Driver;
}

/** Defines a driver: what a driver module exports as its default. */
export function defineDriver(
  about: DriverAbout,
  start: (settings: DriverSettings) => Promise<Driver> | Driver,
): DriverFactory {
  return { about, start };
}

export { HoldfastError } from '../errors.js';
export type { Holder, LockRequest, Loss, LossAction, Mode, Owner, Resource } from '../vocabulary.js';
