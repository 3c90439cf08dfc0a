/**
 * The fcntl driver: open file description locks, no daemon.
 *
 * Guarantees: as long as any process has one of the grant's descriptors, no other program that takes kernel
 * locks on byte 0 as virtlockd does (Holdfast, virtlockd, libvirt through it) gets an incompatible mode, on
 * this host and wherever the file system carries locks to other hosts (NFS, GlusterFS, CephFS). QEMU's own
 * locks are respected (`qemu_lock`).
 * A paused guest can give its locks back: taking them again fails if a file was changed meanwhile.
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
import { HoldfastError } from '../../errors.js';
import { runtimeDirectory } from '../../system/runtime-directory.js';
import type { LockRequest, Owner } from '../../vocabulary.js';
import { readFcntlSettings } from './fcntl-settings.js';
import { KeptDescriptors } from './kept-descriptors.js';
import { libvirtDirectories } from '../../system/libvirt-config.js';
import { leaseFault } from './lease-fault.js';
import { readLibvirtSettings } from './libvirt-settings.js';
import { removeLockFileIfFree } from './lock-file.js';
import { permissionError, probeRequest, resourceHolders } from './lock-holders.js';
import { GrantRecords } from './grant-records.js';
import { lockTargets, type LockTarget } from './lock-targets.js';
import { isSleptOn } from './byte-locks.js';
import { opensForWriting } from './open-image.js';
import type { SleepingRequest } from './sleeping-requests.js';
import { Collision, giveBack, takeRequest, type TakenRequest, type TakeOptions } from './take-request.js';

/** What a grant stands for. */
interface Held {
  readonly owner: Owner;
  readonly taken: readonly TakenRequest[];
}

/** What a grant stands for while its guest is paused. */
interface SleepingHold {
  readonly owner: Owner;
  readonly requests: readonly SleepingRequest[];
}

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
      'that a suspended hold notices who only had a disk, if that was no Holdfast: it notices who changed it',
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

  const targetsOf = (request: LockRequest): readonly LockTarget[] => lockTargets(request, lockspace, libvirt);

  const records = new GrantRecords(settings.leaveRecord, targetsOf);

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

  const takeAll = async (
    owner: Owner,
    requests: readonly LockRequest[],
    { signal, unlockOnRelease = false }: AcquireOptions,
  ): Promise<readonly TakenRequest[]> => {
    const options = { qemu: settings.qemuLock, unlock: unlockOnRelease };
    const taken = await takeUnlessAborted(requests, options, signal);
    await records.leave(taken, owner);
    await wake(taken);
    return taken;
  };

  const takeUnlessAborted = (
    requests: readonly LockRequest[],
    options: TakeOptions,
    signal: AbortSignal,
  ): Promise<readonly TakenRequest[]> =>
    withoutCollision(requests, () => {
      if (signal.aborted) {
        throw new HoldfastError('ABORTED', 'the caller gave up; nothing is locked', { cause: signal.reason });
      }
      return tryAll(requests, options);
    });

  /** Only where somebody sleeps, which no start has to load anything for. */
  const wake = async (taken: readonly TakenRequest[]): Promise<void> => {
    const sleptOn = taken
      .filter(({ request }) => opensForWriting(request.mode))
      .flatMap(({ locked }) => locked.filter(({ target, fd }) => target.kind === 'image' && isSleptOn(fd)));
    if (sleptOn.length === 0) return;
    const { markChanged } = await import('./sleeping-requests.js');
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
        if (!(error instanceof Collision) || round >= collisionRetriesMax)
          throw await records.named(error, requests);
        await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * collisionPauseMsMax));
      }
    }
  };

  const probed = async (request: LockRequest): Promise<ProbeResult> => {
    const { identity } = request.resource;
    const holders = probeRequest(request, targetsOf(request), settings.qemuLock);
    if (holders.length > 0)
      return { identity, free: false, holders: await records.inTheWay(request, holders) };
    const error = permissionError(request, targetsOf(request));
    return { identity, free: error === undefined, holders, ...(error === undefined ? {} : { error }) };
  };

  return {
    async acquire(owner, requests, options) {
      return grantOf(owner, await takeAll(owner, requests, options));
    },
    async adopt(owner, requests, descriptors) {
      const taken = await adoptAll(requests, descriptors);
      if (descriptors.length === 0) await records.leave(taken, owner);
      await wake(taken);
      return grantOf(owner, taken);
    },
    async release(grant) {
      const { taken = [] } = grants.get(grant) ?? {};
      grants.delete(grant);
      const asleep = sleeping.get(grant);
      sleeping.delete(grant);
      await records.giveBack(taken);
      if (asleep !== undefined) (await import('./sleeping-requests.js')).forgetAsleep(asleep.requests);
    },
    async holders(resource) {
      const request = { resource, mode: 'exclusive' } as const;
      const targets = targetsOf(request);
      const holders = resourceHolders(targets);
      if (holders.length === 0 || !records.standOn(request)) return holders;
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
      await records.giveBack(taken.filter(goes));
      return grantOf(
        owner,
        taken.filter((one) => !goes(one)),
      );
    },
    async suspend(grant) {
      const { owner, taken } = heldBy(grant);
      const { fallAsleep } = await import('./sleeping-requests.js');
      const requests = await fallAsleep(taken, owner, () => records.leave(taken, owner));
      grants.delete(grant);
      sleeping.set(grant, { owner, requests });
      // A command that inherited a descriptor is paused: unlocking gives it back. The lock files stay, to be found again.
      giveBack(taken.map((one) => ({ ...one, unlock: true, temporary: [] })));
    },
    async resume(grant, { signal }) {
      const asleep = sleeping.get(grant);
      if (asleep === undefined) throw new HoldfastError('ENDED', 'this grant is not suspended');
      const { isAsLeft, wakeUp } = await import('./sleeping-requests.js');
      const requests = asleep.requests.map(({ request }) => request);
      const options = {
        qemu: settings.qemuLock,
        unlock: asleep.requests.some(({ unlock }) => unlock),
        guestRuns: asleep.requests.some(({ guestRuns }) => guestRuns),
        keepFiles: true,
      };
      const taken = await takeUnlessAborted(requests, options, signal);
      const changed = asleep.requests.find((one, index) => {
        const now = taken[index];
        return now === undefined || !isAsLeft(one, now);
      });
      if (changed !== undefined) {
        giveBack(taken.map((one) => ({ ...one, temporary: [] })));
        const { label } = changed.request.resource;
        throw new HoldfastError(
          'LOST',
          `${label} was changed or locked by somebody else while it was suspended`,
          {
            resource: label,
          },
        );
      }
      sleeping.delete(grant);
      wakeUp(asleep.requests);
      await records.leave(taken, asleep.owner);
      await wake(taken);
      return grantOf(asleep.owner, taken);
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
      const shared = requests.filter((request) => records.standOn(request));
      if (shared.length === 0) return;
      const { removeDead } = await import('./holder-records.js');
      for (const request of shared) removeDead(request.resource, targetsOf(request));
    },
    mapRequest,
    notes: () => libvirt.flatMap(({ notes }) => notes),
  };
}

/** What this process opened for a request: the rest is the caller's still, and nobody has a duplicate of this yet. */
function withoutKept(taken: TakenRequest, { kept, keepFiles = false }: TakeOptions): TakenRequest {
  const descriptors = taken.descriptors.filter((fd) => kept?.has(fd) !== true);
  return { ...taken, descriptors, unlock: false, temporary: keepFiles ? [] : taken.temporary };
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
