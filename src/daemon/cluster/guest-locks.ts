/**
 * What one process of a guest has in the cluster: one grant, which is extended with each disk and lease that it takes, and
 * shrunk with each that it gives back. The guest's own lock (its uuid) comes with the first and goes with the last.
 */
import type { Grant } from '../../index.js';
import { HoldfastError } from '../../errors.js';
import type { ClusterDriver, ClusterGuest, LockRequest, Loss, Owner } from '../../index.js';
import { boottimeMs } from '../../system/boot-clock.js';
import type { LockdOwner } from '../lockd/lock-table.js';
import type { GuestFiles } from './guest-file.js';

export interface GuestLocksOptions {
  readonly cluster: ClusterDriver;
  readonly files: GuestFiles;
  /** Before it returns nobody is told that he has the lock. */
  readonly granted: (locks: GuestLocks, grant: Grant) => Promise<void>;
  readonly lost: (locks: GuestLocks, loss: Loss) => void;
  /** What is held stays held: the next daemon finds less in the file than there is, or no file. */
  readonly notWritten: (locks: GuestLocks, error: unknown) => void;
}

const { signal: never } = new AbortController();

export class GuestLocks {
  readonly guest: LockdOwner;
  readonly owner: Owner;
  readonly #options: GuestLocksOptions;
  readonly #things: Map<string, readonly LockRequest[]>;
  #grant: Grant | undefined;
  #loss: Loss | undefined;
  /** Names of what is to be given back without anybody waiting for it. */
  readonly #forgotten = new Set<string>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    guest: LockdOwner,
    options: GuestLocksOptions,
    things: Iterable<readonly [string, readonly LockRequest[]]> = [],
  ) {
    this.guest = guest;
    this.owner = options.cluster.owner(clusterGuest(guest));
    this.#options = options;
    this.#things = new Map(things);
  }

  get grant(): Grant | undefined {
    return this.#grant;
  }

  get hasNothing(): boolean {
    return this.#things.size === 0;
  }

  /** What it has, or had when the daemon before ended. */
  get things(): readonly string[] {
    return [...this.#things.keys()];
  }

  /** One after another: each step sees what the one before has left. */
  inTurn<Result>(step: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(step);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** Throws `IN_USE` with the holders, `CANNOT_LOCK`, `LOST`, `CLUSTER_...`. */
  take(name: string, plan: (guest: ClusterGuest) => Promise<readonly LockRequest[]>): Promise<void> {
    return this.inTurn(async () => {
      if (this.#things.has(name)) return;
      if (this.#loss !== undefined) throw new HoldfastError('LOST', this.#loss.reason);
      const requests = await plan(clusterGuest(this.guest));
      const held = new Map(this.#grant?.requests.map(({ resource, mode }) => [resource.identity, mode]));
      const twice = requests.find(
        ({ resource: { identity }, mode }) => (held.get(identity) ?? mode) !== mode,
      );
      if (twice !== undefined) {
        throw new HoldfastError(
          'SAME_DISK_TWICE',
          `${twice.resource.label} is held already, in another mode`,
        );
      }
      const wanted = requests.filter(({ resource }) => !held.has(resource.identity));
      const { driver } = this.#options.cluster;
      const before = this.#grant;
      if (before === undefined) this.#hold(await driver.acquire(this.owner, wanted, { signal: never }));
      else if (wanted.length > 0 && driver.extend !== undefined) {
        this.#grant = await driver.extend(before, this.owner, wanted, { signal: never });
      }
      this.#things.set(name, requests);
      try {
        this.#options.files.write(this.guest, this.#things);
        if (this.#grant !== undefined) await this.#options.granted(this, this.#grant);
      } catch (error) {
        await this.#giveBack([name], false).catch(() => undefined);
        throw error;
      }
    });
  }

  /** For a moment nobody but the same guest can take it. Throws `CLUSTER_...`; then it ends later. */
  giveBack(name: string): Promise<void> {
    return this.inTurn(() => this.#giveBack([name], true));
  }

  /** The same for what nobody was told that he has, and for what has ended; the end of a process gives back all at once. */
  forget(name: string): Promise<void> {
    this.#forgotten.add(name);
    return this.inTurn(async () => {
      const names = [...this.#forgotten];
      this.#forgotten.clear();
      await this.#giveBack(names, false);
    });
  }

  /**
   * Takes up what the file says, and `missing`, which it does not. What is in the file and not in `wanted` is given back.
   * Throws `LOST` where somebody else has it, `CLUSTER_...`: then it can be tried again.
   */
  takeUp(
    wanted: ReadonlySet<string>,
    missing: (guest: ClusterGuest) => Promise<ReadonlyMap<string, readonly LockRequest[]>>,
  ): Promise<void> {
    return this.inTurn(async () => {
      if (this.#grant === undefined) {
        for (const [name, requests] of await missing(clusterGuest(this.guest)))
          this.#things.set(name, requests);
        const { driver } = this.#options.cluster;
        if (driver.adopt === undefined) return;
        this.#hold(await driver.adopt(this.owner, joined(this.#things.values()), []));
      }
      const gone = this.things.filter((name) => !wanted.has(name));
      if (gone.length > 0) await this.#giveBack(gone, false);
      if (this.hasNothing || this.#grant === undefined) return;
      await this.#options.granted(this, this.#grant);
      try {
        this.#options.files.write(this.guest, this.#things);
      } catch (error) {
        // The next daemon takes up the rest by the journal. A guest whose locks are held and guarded is not ended for a file.
        this.#options.notWritten(this, error);
      }
    });
  }

  /**
   * After a loss, and with its process stopped: takes again what it has, if nobody has had any of it since. Returns when that is
   * guarded again. Throws `LOST` if somebody has, `UNSUPPORTED`, `CLUSTER_...`.
   */
  retake(): Promise<void> {
    return this.inTurn(async () => {
      const { driver } = this.#options.cluster;
      const lost = this.#grant;
      if (lost === undefined) return;
      if (this.#loss !== undefined) {
        if (driver.resume === undefined)
          throw new HoldfastError('UNSUPPORTED', 'this driver cannot take again what was lost');
        const grant = await driver.resume(lost, { signal: never });
        this.#loss = undefined;
        this.#hold(grant);
      }
      // Also after a try that came no further than that.
      if (this.#grant === undefined) return;
      this.#grant = await this.#withoutGivenBack(this.#grant);
      await this.#options.granted(this, this.#grant);
    });
  }

  /** Whether it has all that it should, for a while at least. */
  get isCertain(): boolean {
    const { guarantee } = this.#grant ?? {};
    return this.#loss === undefined && (guarantee === undefined || boottimeMs() < guarantee.times.loseAtMs);
  }

  /** What was given back while it was lost could not be given back in the cluster. */
  async #withoutGivenBack(grant: Grant): Promise<Grant> {
    const stays = new Set([...this.#things.values()].flat().map(({ resource }) => resource.identity));
    const gone = grant.requests
      .map(({ resource }) => resource.identity)
      .filter((identity) => !stays.has(identity));
    const { driver } = this.#options.cluster;
    return gone.length === 0 || driver.shrink === undefined ? grant : driver.shrink(grant, gone);
  }

  /** What it had is somebody else's, or ends with the lease of the daemon before. */
  discard(): void {
    this.#things.clear();
    this.#options.files.remove(this.guest);
  }

  #hold(grant: Grant): void {
    this.#grant = grant;
    void this.#noteLoss(grant);
  }

  async #noteLoss({ lost }: Grant): Promise<void> {
    const loss = await lost;
    // A grant that was given back is no loss, nor one after which another was taken.
    if (loss === undefined || this.#grant?.lost !== lost) return;
    this.#loss = loss;
    this.#options.lost(this, loss);
  }

  async #giveBack(names: readonly string[], reserved: boolean): Promise<void> {
    const goes = names.flatMap((name) => this.#things.get(name) ?? []);
    for (const name of names) this.#things.delete(name);
    const grant = this.#grant;
    const { driver } = this.#options.cluster;
    const { files } = this.#options;
    const last = this.hasNothing;
    if (grant === undefined) return last ? files.remove(this.guest) : undefined;
    const stays = new Set([...this.#things.values()].flat().map(({ resource }) => resource.identity));
    const all = (last ? grant.requests : goes).map(({ resource }) => resource.identity);
    const identities = [...new Set(all)].filter((identity) => last || !stays.has(identity));
    if (last) this.#grant = undefined;
    try {
      if (this.#loss !== undefined && !last) return;
      if (reserved && this.#loss === undefined && driver.reserve !== undefined) {
        const left = await driver.reserve(grant, identities);
        if (!last) this.#grant = left;
        else await driver.release(left);
      } else if (last) await driver.release(grant);
      else if (identities.length > 0 && driver.shrink !== undefined)
        this.#grant = await driver.shrink(grant, identities);
    } finally {
      if (last) files.remove(this.guest);
      else this.#writeLess();
      if (last) this.#loss = undefined;
    }
  }

  #writeLess(): void {
    const { files, notWritten } = this.#options;
    try {
      files.write(this.guest, this.#things);
    } catch (error) {
      // A file that names too much costs the guest its life, if somebody else has that when it is read; without one, the journal is asked.
      files.remove(this.guest);
      notWritten(this, error);
    }
  }
}

/** As one transaction wants them: sorted, and each identity once. */
function joined(lists: Iterable<readonly LockRequest[]>): readonly LockRequest[] {
  const byIdentity = new Map([...lists].flat().map((request) => [request.resource.identity, request]));
  return [...byIdentity.values()].toSorted((a, b) => (a.resource.identity < b.resource.identity ? -1 : 1));
}

function clusterGuest({ uuid, name, id, pid, startTime }: LockdOwner): ClusterGuest {
  const dashed = uuid.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  return { uuid: dashed, name, id, process: { pid, startTime } };
}
