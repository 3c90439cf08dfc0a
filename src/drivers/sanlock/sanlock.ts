/**
 * The sanlock driver: leases on shared storage, kept by the sanlock daemon of each host.
 *
 * Guarantees: a lease that is granted is nobody else's in the cluster as long as this process or any that inherited the grant's
 * descriptors lives and the daemon can renew. A host that cannot renew ends its holders (by `killpath/`, then with SIGKILL
 * to the pid that asked, which is the command's) and is reset by its watchdog before anybody else gets what it had.
 * Does not guarantee: that what has left the command, and closed the descriptors that it inherited, is ended with it. Anything if
 * the daemon runs without its watchdog (`-w 0`).
 * Depends on: sanlock 3 and its client library, a joined lockspace, leases that were made; and all who use a disk
 * calling it by the same lease, as libvirt's plugin does.
 */
import {
  defineDriver,
  HoldfastError,
  type AcquireOptions,
  type Driver,
  type DriverSettings,
  type Grant,
  type LockRequest,
  type Loss,
  type Owner,
} from '../../driver/contract.js';
import { inPlainWords } from './explain-result.js';
import { LeaseConnection } from './lease-connection.js';
import { LeaseGroup, type LeasePart } from './lease-group.js';
import { registerLossProgram } from './loss-program.js';
import { asResource } from './lease-holders.js';
import { tokensOf, versionsOf } from './lease-versions.js';
import { mapToLease, probeLeases } from './probe-leases.js';
import { stateText, versionsInState } from './travelling-state.js';
import { readSanlockSettings } from './sanlock-settings.js';
import { takeLeases } from './take-leases.js';
import { leasesFor, requireFew, resourceHolders, wantedLeases } from './wanted-leases.js';

interface GrantState {
  readonly owner: Owner;
  /** Missing: nothing was asked for. */
  readonly group?: LeaseGroup;
  readonly parts: readonly LeasePart[];
  /** Of each lease, by `LOCKSPACE:NAME`, when it was taken. */
  readonly versions: ReadonlyMap<string, bigint>;
  readonly options: AcquireOptions;
  /** What is to be said of it. */
  readonly notes?: readonly string[];
  /** No longer to be told of a loss. */
  readonly forget: () => void;
  /** It was given back for a while: the versions to be found again. */
  suspended?: ReadonlyMap<string, bigint>;
}

export default defineDriver(
  {
    name: 'sanlock',
    reach: 'cluster',
    modes: ['exclusive', 'shared'],
    guarantees: [
      'excludes everyone who takes the same lease, on every host that shares the storage: oVirt, lvmlockd, and libvirt guests under sanlock',
      'a host that cannot renew its leases ends their holders, or is reset by its watchdog, before another host gets them',
      'the command itself is the holder: sanlock knows its pid, and ends it if the leases cannot be kept',
    ],
    doesNotGuarantee: [
      'that what has left the command, and closed what it inherited, is ended with it',
      'anything where sanlock runs without its watchdog',
      'that a disk is kept from those who call it by a path that is not known here: libvirt names its lease by the path alone',
      'that readers can share a disk: reading is locked exclusively',
      'anything against programs that open the disk without asking for a lease',
    ],
    supervise: false,
    lossActions: ['poweroff', 'pause'],
  },
  (settings) => sanlockDriver(settings),
);

function sanlockDriver(given: DriverSettings): Driver {
  const settings = readSanlockSettings(given);
  const grants = new WeakMap<Grant, GrantState>();

  const stateOf = (grant: Grant): GrantState => {
    const state = grants.get(grant);
    if (state === undefined) {
      throw new HoldfastError('ENDED', 'this grant was given back already, or has been replaced');
    }
    return state;
  };

  /** Ends a grant, and gives what it had. */
  const close = (grant: Grant): GrantState | undefined => {
    const state = grants.get(grant);
    grants.delete(grant);
    state?.forget();
    return state;
  };

  const grantOf = (state: Omit<GrantState, 'forget'>): Grant => {
    const { group, parts, versions } = state;
    let forget = (): void => undefined;
    const lost =
      group === undefined
        ? undefined
        : new Promise<Loss>((resolve) => {
            const resources = parts.map(({ request }) => request.resource.label);
            forget = group.connection.onLoss((cause) => resolve({ reason: cause.message, resources, cause }));
          });
    const grant: Grant = {
      requests: parts.map(({ request }) => request),
      descriptors: [
        ...(group === undefined ? [] : [group.connection.descriptor]),
        ...parts.map(({ inheritance }) => inheritance.descriptor),
      ],
      tokens: tokensOf(parts, versions),
      ...(lost === undefined ? {} : { lost }),
      ...(state.notes === undefined ? {} : { notes: state.notes }),
    };
    grants.set(grant, { ...state, forget });
    return grant;
  };

  const acquireAll = async (
    owner: Owner,
    requests: readonly LockRequest[],
    options: AcquireOptions,
  ): Promise<Grant> => {
    if (requests.length === 0) return grantOf({ owner, parts: [], versions: new Map(), options });
    const wanted = wantedLeases(requests, settings);
    requireFew(wanted.length, requests[0]?.resource.label ?? '');
    const connection = LeaseConnection.open();
    try {
      const notes = await registerLossProgram(connection, options);
      await takeLeases(connection, owner, wanted, settings, options, versionsInState(options.state, wanted));
      const group = new LeaseGroup(connection);
      const versions = await versionsOf(wanted);
      const parts = requests.map((request) =>
        group.add(request, leasesFor(request.resource, settings), wanted),
      );
      return grantOf({ owner, group, parts, versions, options, notes });
    } catch (error) {
      // The daemon gives back what was taken when the connection is closed; asked for it, it has done so already.
      await connection.releaseAll().catch(() => undefined);
      connection.close();
      throw error;
    }
  };

  return {
    acquire: acquireAll,
    async release(grant) {
      const state = close(grant);
      await state?.group?.giveBack(state.parts, state.options.unlockOnRelease === true);
    },
    holders: (resource) => inPlainWords(() => resourceHolders(resource, settings)),
    async extend(grant, owner, requests, options) {
      const before = stateOf(grant);
      const { group } = before;
      if (group === undefined) {
        const added = await acquireAll(owner, requests, options);
        close(grant);
        return added;
      }
      const wanted = wantedLeases(requests, settings);
      requireFew(group.countWith(wanted), requests[0]?.resource.label ?? '');
      if (!group.connection.stillThere()) throw new HoldfastError('LOST', 'the sanlock daemon has ended');
      const missing = group.missing(wanted);
      await takeLeases(group.connection, owner, missing, settings, options);
      const versions = await versionsOf(missing).catch(async (error: unknown) => {
        const resources = missing.map(({ lease, shared }) => asResource(lease, shared));
        await group.connection.release(resources).catch(() => undefined);
        throw error;
      });
      const added = requests.map((request) =>
        group.add(request, leasesFor(request.resource, settings), wanted),
      );
      close(grant);
      return grantOf({
        ...before,
        parts: [...before.parts, ...added],
        versions: new Map([...before.versions, ...versions]),
      });
    },
    async shrink(grant, identities) {
      const before = stateOf(grant);
      const goes = ({ request }: LeasePart): boolean => identities.includes(request.resource.identity);
      close(grant);
      const left = grantOf({ ...before, parts: before.parts.filter((part) => !goes(part)) });
      await before.group?.giveBack(before.parts.filter(goes), before.options.unlockOnRelease === true);
      return left;
    },
    async suspend(grant) {
      const state = stateOf(grant);
      const { group } = state;
      if (group === undefined || state.suspended !== undefined) return;
      const all = group.all();
      // What is shared has been taken by others as well, who have moved its version: what counts is how it is left.
      state.suspended = await versionsOf(all);
      await group.connection.releaseAll();
    },
    async resume(grant, options) {
      const state = stateOf(grant);
      const { group, parts, owner } = state;
      if (group === undefined) return grant;
      const wanted = wantedLeases(
        parts.map(({ request }) => request),
        settings,
      );
      const versions = state.suspended ?? state.versions;
      const there = group.connection.stillThere();
      if (there && group.connection.isFailing()) {
        // Nothing runs any more; the daemon kills who still has leases, and lets the lockspace go when nobody has.
        await group.connection.releaseAll();
        group.connection.failedNoLonger();
        state.suspended = versions;
      } else if (there && state.suspended === undefined) return grant;
      // The daemon may have ended meanwhile: then nothing is left of the old connection.
      const next = there ? group.connection : LeaseConnection.open();
      try {
        if (!there) await registerLossProgram(next, state.options);
        await takeLeases(next, owner, wanted, settings, options, versions);
        const nextGroup = there ? group : new LeaseGroup(next);
        const nextParts = there
          ? parts
          : parts.map(({ request, leases }) => nextGroup.add(request, leases, wanted));
        const nextVersions = await versionsOf(wanted);
        close(grant);
        if (!there) await group.giveBack(parts, true);
        return grantOf({ owner, group: nextGroup, parts: nextParts, versions: nextVersions, options });
      } catch (error) {
        if (!there) next.close();
        throw error;
      }
    },
    async inquire(grant) {
      const { group, suspended, versions } = stateOf(grant);
      return group === undefined ? '' : stateText(group.all(), suspended ?? versions);
    },
    probe: (requests) => probeLeases(requests, settings),
    mapRequest: (request) => mapToLease(request, settings),
    makeLease: async (area, options) => (await import('./lease-area.js')).makeLeaseArea(area, options),
    readLeases: async (place) => (await import('./find-areas.js')).readLeaseAreas(place),
    notes: () => settings.notes,
  };
}
