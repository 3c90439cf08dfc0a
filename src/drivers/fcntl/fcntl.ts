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
  type Driver,
  type DriverSettings,
  type Grant,
  type MappedRequest,
} from '../../driver/contract.js';
import { HoldfastError } from '../../errors.js';
import { runtimeDirectory } from '../../system/runtime-directory.js';
import type { LockRequest } from '../../vocabulary.js';
import { readFcntlSettings } from './fcntl-settings.js';
import { libvirtDirectories } from '../../system/libvirt-config.js';
import { readLibvirtSettings } from './libvirt-settings.js';
import { removeLockFileIfFree } from './lock-file.js';
import { permissionError, probeRequest, resourceHolders } from './lock-holders.js';
import { lockTargets, type LockTarget } from './lock-targets.js';
import { Collision, giveBack, takeRequest, type TakenRequest } from './take-request.js';

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
  const grants = new WeakMap<Grant, readonly TakenRequest[]>();

  const targetsOf = (request: LockRequest): readonly LockTarget[] => lockTargets(request, lockspace, libvirt);

  const grantOf = (taken: readonly TakenRequest[]): Grant => {
    const grant: Grant = {
      requests: taken.map(({ request }) => request),
      descriptors: taken.flatMap(({ descriptors }) => descriptors),
      tokens: {},
      notes: [...new Set(taken.flatMap(({ notes }) => notes))],
    };
    grants.set(grant, taken);
    return grant;
  };

  const takenBy = (grant: Grant): readonly TakenRequest[] => {
    const taken = grants.get(grant);
    if (taken === undefined) {
      throw new HoldfastError('ENDED', 'this grant was given back already, or has been replaced');
    }
    return taken;
  };

  const tryAll = (requests: readonly LockRequest[]): readonly TakenRequest[] => {
    const taken: TakenRequest[] = [];
    try {
      for (const request of requests) taken.push(takeRequest(request, targetsOf(request), settings.qemuLock));
      return taken;
    } catch (error) {
      giveBack(taken);
      throw error;
    }
  };

  const takeAll = async (
    requests: readonly LockRequest[],
    signal: AbortSignal,
  ): Promise<readonly TakenRequest[]> => {
    for (let round = 0; ; round++) {
      if (signal.aborted) {
        throw new HoldfastError('ABORTED', 'the caller gave up; nothing is locked', { cause: signal.reason });
      }
      try {
        return tryAll(requests);
      } catch (error) {
        if (!(error instanceof Collision) || round >= collisionRetriesMax) throw error;
        await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * collisionPauseMsMax));
      }
    }
  };

  return {
    async acquire(_owner, requests, { signal }) {
      return grantOf(await takeAll(requests, signal));
    },
    async release(grant) {
      const taken = grants.get(grant);
      grants.delete(grant);
      giveBack(taken ?? []);
    },
    async holders(resource) {
      return resourceHolders(targetsOf({ resource, mode: 'exclusive' }));
    },
    async extend(grant, _owner, requests, { signal }) {
      const before = takenBy(grant);
      const added = await takeAll(requests, signal);
      grants.delete(grant);
      return grantOf([...before, ...added]);
    },
    async shrink(grant, identities) {
      const before = takenBy(grant);
      const goes = (taken: TakenRequest): boolean => identities.includes(taken.request.resource.identity);
      grants.delete(grant);
      giveBack(before.filter(goes));
      return grantOf(before.filter((taken) => !goes(taken)));
    },
    async probe(requests) {
      return requests.map((request) => {
        const { identity } = request.resource;
        const holders = probeRequest(request, targetsOf(request), settings.qemuLock);
        if (holders.length > 0) return { identity, free: false, holders };
        const error = permissionError(request, targetsOf(request));
        return { identity, free: error === undefined, holders, ...(error === undefined ? {} : { error }) };
      });
    },
    async tidy(requests) {
      for (const target of requests.flatMap(targetsOf)) {
        if (target.kind === 'lock file' && target.temporary) removeLockFileIfFree(target.path);
      }
    },
    mapRequest,
    notes: () => libvirt.flatMap(({ notes }) => notes),
  };
}

function mapRequest({ resource, mode }: LockRequest): MappedRequest {
  if (resource.storage === 'network') {
    return {
      can: false,
      reason: 'the kernel has no locks for network disks',
      remedy: 'Use a cluster driver, or accept the danger with --allow-unlocked.',
    };
  }
  const lease = resource.lease;
  if (lease?.path === undefined) return { can: true, mode };
  const improper = [lease.lockspace, lease.key].find(
    (name) => name === '' || name === '.' || name === '..' || name.includes('/'),
  );
  if (improper !== undefined)
    return {
      can: false,
      reason: `'${improper}' cannot be the name of a lockspace or key: it has to be a file name`,
    };
  if (lease.offset !== 0)
    return {
      can: false,
      reason: 'a lease at an offset is one of sanlock; here each lease is a file',
      remedy: 'Use the sanlock driver, or offset 0.',
    };
  return { can: true, mode };
}
