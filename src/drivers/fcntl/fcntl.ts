/**
 * The fcntl driver: open file description locks, no daemon.
 *
 * Guarantees: as long as any process has one of the grant's descriptors, no other program that takes kernel
 * locks on byte 0 as virtlockd does (Holdfast, virtlockd, libvirt through it) gets an incompatible mode, on
 * this host and wherever the file system carries locks to other hosts (NFS, GlusterFS, CephFS). QEMU's own
 * locks are respected (`qemu_lock`).
 * Does not guarantee: anything against programs that ask for no lock; a `read` hold keeps out virtlockd's
 * exclusive holders but not its shared ones; domain uuids, leases without a path, block devices and
 * directories are locked among programs with the same runtime directory (one host, one user or root).
 * Depends on: Linux 3.15 or later, a file system with POSIX locks.
 */
import { join } from 'node:path';
import {
  defineDriver,
  type AcquireOptions,
  type Driver,
  type DriverSettings,
  type Grant,
  type MappedRequest,
  type ProbeResult,
} from '../../driver/contract.js';
import { HoldfastError, isHoldfastError } from '../../errors.js';
import { runtimeDirectory } from '../../system/runtime-directory.js';
import type { Holder, LockRequest, Owner } from '../../vocabulary.js';
import { readFcntlSettings } from './fcntl-settings.js';
import { KeptDescriptors } from './kept-descriptors.js';
import { libvirtDirectories } from '../../system/libvirt-config.js';
import { leaseFault } from './lease-fault.js';
import { readLibvirtSettings } from './libvirt-settings.js';
import { removeLockFileIfFree } from './lock-file.js';
import { permissionError, probeRequest, resourceHolders } from './lock-holders.js';
import type { LeftRecord } from './holder-records.js';
import { isShared, lockTargets, type LockTarget } from './lock-targets.js';
import { Collision, giveBack, takeRequest, type TakenRequest, type TakeOptions } from './take-request.js';

/** Two that ask at once for modes told apart by bytes 2 to 4 can refuse each other: each tries again, at random. */
const collisionRetriesMax = 5;
const collisionPauseMsMax = 8;

export default defineDriver(
  {
    name: 'fcntl',
    reach: 'file system',
    modes: ['exclusive', 'shared', 'read', 'part'],
    guarantees: [
      'excludes every program that locks byte 0 of the image: Holdfast, virtlockd, libvirt',
      "respects QEMU's own image locks",
      'the lock lives as long as any process that inherited it, and no longer',
    ],
    doesNotGuarantee: [
      'anything against programs that open the disk without asking for a lock',
      'other hosts, unless the file system carries locks between them',
      "that virtlockd's shared writers keep away from a disk held for reading",
    ],
    supervise: false,
  },
  (settings) => fcntlDriver(settings),
);

function fcntlDriver(given: DriverSettings): Driver {
  const settings = readFcntlSettings(given);
  const lockspace = settings.lockspaceDir ?? join(runtimeDirectory(), 'lockspace');
  const libvirt = (settings.libvirtConfigDirs ?? libvirtDirectories()).map(readLibvirtSettings);
  const grants = new WeakMap<Grant, Held>();
  const sleeping = new WeakMap<Grant, SleepingHold>();
  const left = new WeakMap<TakenRequest, readonly LeftRecord[]>();

  const targetsOf = (request: LockRequest): readonly LockTarget[] => lockTargets(request, lockspace, libvirt);

  const standsOnShared = (request: LockRequest): boolean =>
    targetsOf(request).some((target) => isShared(request.resource, target));

  const grantOf = (owner: Owner, taken: readonly TakenRequest[]): Grant => {
    const grant: Grant = {
      requests: taken.map(({ request }) => request),
      descriptors: taken.flatMap(({ descriptors }) => descriptors),
      tokens: {},
      notes: [...new Set(taken.flatMap(({ notes }) => notes))],
    };
    grants.set(grant, { owner, taken });
    return grant;
  };

  const heldBy = (grant: Grant): Held => {
    const held = grants.get(grant);
    if (held !== undefined) return held;
    const what = sleeping.has(grant) ? 'is suspended' : 'was given back already, or has been replaced';
    throw new HoldfastError('ENDED', `this grant ${what}`);
  };

  const tryAll = (requests: readonly LockRequest[], options: TakeOptions): readonly TakenRequest[] => {
    const taken: TakenRequest[] = [];
    try {
      for (const request of requests) taken.push(takeRequest(request, targetsOf(request), options));
      return taken;
    } catch (error) {
      giveBack(taken.map((one) => withoutKept(one, options)));
      throw error;
    }
  };

  const leaveAll = async (taken: readonly TakenRequest[], owner: Owner): Promise<void> => {
    const known = taken.filter(({ shared }) => shared.length > 0);
    if (known.length === 0 || !settings.leaveRecord) return;
    try {
      const { leaveRecords } = await import('./holder-records.js');
      for (const one of known) left.set(one, leaveRecords(one, owner));
    } catch (error) {
      await giveBackAll(taken);
      throw error;
    }
  };

  /** Records go after the locks: whoever inherited those is still who they tell of. */
  const giveBackAll = async (taken: readonly TakenRequest[]): Promise<void> => {
    giveBack(taken);
    const records = taken.flatMap((one) => left.get(one) ?? []);
    const adopted = settings.leaveRecord
      ? taken.filter((one) => one.unlock && one.shared.length > 0 && !left.has(one))
      : [];
    if (records.length + adopted.length === 0) return;
    const { removeDead, takeBackRecords } = await import('./holder-records.js');
    await takeBackRecords(records);
    // What was left before a restart is known by its witness, which went with the locks.
    for (const { request } of adopted) removeDead(request.resource, targetsOf(request));
  };

  /** A refusal with those named who left a record of themselves. */
  const named = async (error: unknown, requests: readonly LockRequest[]): Promise<unknown> => {
    if (!isHoldfastError(error, 'IN_USE')) return error;
    const request = requests.find(({ resource }) => resource.label === error.resource);
    if (request === undefined || !standsOnShared(request)) return error;
    const { resource, mode } = request;
    const holders = await recordedOr(request, error.holders);
    return new HoldfastError('IN_USE', error.message, { resource: resource.label, mode, holders });
  };

  const recordedOr = async (
    request: LockRequest,
    otherwise: readonly Holder[],
  ): Promise<readonly Holder[]> => {
    if (!standsOnShared(request)) return otherwise;
    const { recordedInTheWay } = await import('./holder-records.js');
    const recorded = recordedInTheWay(request, targetsOf(request));
    return recorded.length === 0 ? otherwise : recorded;
  };

  const takeAll = async (
    owner: Owner,
    requests: readonly LockRequest[],
    { signal, unlockOnRelease = false }: AcquireOptions,
  ): Promise<readonly TakenRequest[]> => {
    const options = { qemu: settings.qemuLock, unlock: unlockOnRelease };
    const taken = await withoutCollision(requests, () => {
      if (signal.aborted) {
        throw new HoldfastError('ABORTED', 'the caller gave up; nothing is locked', { cause: signal.reason });
      }
      return tryAll(requests, options);
    });
    await leaveAll(taken, owner);
    await wake(taken);
    return taken;
  };

  /** Only where somebody sleeps, which no start has to load anything for. */
  const wake = async (taken: readonly TakenRequest[]): Promise<void> => {
    const sleptOn = taken.filter(isSleptOn);
    if (sleptOn.length === 0) return;
    const { markChanged } = await import('./sleeping-files.js');
    sleptOn.forEach(markChanged);
  };

  const adoptAll = async (
    requests: readonly LockRequest[],
    descriptors: readonly number[],
  ): Promise<readonly TakenRequest[]> =>
    withoutCollision(requests, () => {
      const kept = new KeptDescriptors(descriptors);
      // The guest whose locks these are runs already: QEMU's own bytes are its.
      const options = { qemu: settings.qemuLock, unlock: true, kept, guestRuns: true };
      const [first, ...others] = tryAll(requests, options);
      return first === undefined
        ? []
        : [{ ...first, descriptors: [...first.descriptors, ...kept.left] }, ...others];
    });

  const withoutCollision = async (
    requests: readonly LockRequest[],
    attempt: () => readonly TakenRequest[],
  ): Promise<readonly TakenRequest[]> => {
    for (let round = 0; ; round++) {
      try {
        return attempt();
      } catch (error) {
        if (!(error instanceof Collision) || round >= collisionRetriesMax) throw await named(error, requests);
        await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * collisionPauseMsMax));
      }
    }
  };

  const probed = async (request: LockRequest): Promise<ProbeResult> => {
    const { identity } = request.resource;
    const holders = probeRequest(request, targetsOf(request), settings.qemuLock);
    if (holders.length > 0) return { identity, free: false, holders: await recordedOr(request, holders) };
    const error = permissionError(request, targetsOf(request));
    return { identity, free: error === undefined, holders, ...(error === undefined ? {} : { error }) };
  };

  return {
    async acquire(owner, requests, options) {
      return grantOf(owner, await takeAll(owner, requests, options));
    },
    async adopt(owner, requests, descriptors) {
      const taken = await adoptAll(requests, descriptors);
      if (descriptors.length === 0) await leaveAll(taken, owner);
      await wake(taken);
      return grantOf(owner, taken);
    },
    async release(grant) {
      const { taken = [] } = grants.get(grant) ?? {};
      grants.delete(grant);
      const asleep = sleeping.get(grant);
      sleeping.delete(grant);
      await giveBackAll(taken);
      if (asleep !== undefined) (await import('./sleeping-files.js')).forgetSleeping(asleep.requests);
    },
    async holders(resource) {
      const request = { resource, mode: 'exclusive' } as const;
      const targets = targetsOf(request);
      const holders = resourceHolders(targets);
      if (holders.length === 0 || !standsOnShared(request)) return holders;
      const { recordedHolders } = await import('./holder-records.js');
      const recorded = recordedHolders(resource, targets);
      return [...recorded, ...holders.filter(({ mode }) => recorded.every((one) => one.mode !== mode))];
    },
    async extend(grant, owner, requests, options) {
      const { taken } = heldBy(grant);
      const added = await takeAll(owner, requests, options);
      grants.delete(grant);
      return grantOf(owner, [...taken, ...added]);
    },
    async shrink(grant, identities) {
      const { owner, taken } = heldBy(grant);
      const goes = (one: TakenRequest): boolean => identities.includes(one.request.resource.identity);
      grants.delete(grant);
      await giveBackAll(taken.filter(goes));
      return grantOf(
        owner,
        taken.filter((one) => !goes(one)),
      );
    },
    async suspend(grant) {
      const { owner, taken } = heldBy(grant);
      const { fallAsleep } = await import('./sleeping-files.js');
      const requests = await fallAsleep(taken, owner);
      grants.delete(grant);
      sleeping.set(grant, { owner, requests });
      // Whoever inherited a descriptor is paused: only unlocking gives it back. The files stay, to be found again.
      giveBack(taken.map((one) => ({ ...one, unlock: true, temporary: [] })));
    },
    async resume(grant, { signal, unlockOnRelease = false }) {
      const asleep = sleeping.get(grant);
      if (asleep === undefined) throw new HoldfastError('ENDED', 'this grant is not suspended');
      const { owner, requests } = asleep;
      ...
    },
    async probe(requests) {
      const results: ProbeResult[] = [];
      for (const request of requests) results.push(await probed(request));
      return results;
    },
    async tidy(requests) {
      for (const target of requests.flatMap(targetsOf)) {
        if (target.kind === 'lock file' && target.temporary) removeLockFileIfFree(target.path);
      }
      const shared = requests.filter(standsOnShared);
      if (shared.length === 0) return;
      const { removeDead } = await import('./holder-records.js');
      for (const request of shared) removeDead(request.resource, targetsOf(request));
    },
    mapRequest,
    notes: () => libvirt.flatMap(({ notes }) => notes),
  };
}

/** What this process opened for a request: the rest is the caller's still, and nobody has a duplicate of this yet. */
function withoutKept(taken: TakenRequest, { kept }: TakeOptions): TakenRequest {
  const descriptors = taken.descriptors.filter((fd) => kept?.has(fd) !== true);
  return { ...taken, descriptors, unlock: false };
}

function mapRequest({ resource, mode }: LockRequest): MappedRequest {
  if (resource.storage === 'network') {
    return {
      can: false,
      reason: 'the kernel has no locks for network disks',
      remedy: 'Use a cluster driver, or accept the danger with --allow-unlocked.',
    };
  }
  const { lease } = resource;
  const fault = lease?.path === undefined ? undefined : leaseFault(lease);
  return fault ?? { can: true, mode };
}
