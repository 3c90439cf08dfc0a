/**
 * The virtlockd driver: a client of libvirt's lock daemon, beside the guests that libvirt locks there.
 *
 * Guarantees: as long as this process or any that inherited one of the grant's descriptors lives, and virtlockd lives,
 * virtlockd gives nobody else an incompatible lock, and it locks byte 0 of the same files as for libvirt's own guests.
 * When a command closes its descriptors while it lives, virtlockd ends it (SIGTERM, then SIGKILL).
 * Does not guarantee: that anything outlives virtlockd: killed, it loses all locks, and a command that runs alone is
 * not told (`--supervise` notices, and stops it). One disk by two paths that are not known to be the same (hard links)
 * is two for virtlockd; the kernel is asked before, which leaves a moment. virtlockd sends its signals to a pid: if the
 * first process of a command ends before those that it left behind, they can meet another process.
 * Depends on: virtlockd 1.0.1 or later with this user's socket, in the same pid namespace, with the same files.
 */
import {
  defineDriver,
  HoldfastError,
  type Driver,
  type DriverSettings,
  type Grant,
  type LockRequest,
  type Loss,
  type MappedRequest,
  type Owner,
} from '../../driver/contract.js';
import { isHoldfastError } from '../../errors.js';
import { Inheritance } from '../../system/inheritance.js';
import { privateDirectory } from '../../system/runtime-directory.js';
import { holdersAt } from './kernel-locks.js';
import { lockNames, type LockName } from './lock-names.js';
import { ProcessLocks, type LockSession } from './process-locks.js';
import { probeRequest, takeRequest } from './take-request.js';
import { readVirtlockdSettings } from './virtlockd-settings.js';

/** What is locked for one request. */
interface Taken {
  readonly request: LockRequest;
  readonly names: readonly LockName[];
  readonly session: LockSession;
  /** Tells whether a command has it still when it is given back here. */
  readonly inheritance: Inheritance;
}

interface GrantState {
  readonly taken: readonly Taken[];
  /** No longer to be told of a loss. */
  readonly forget: () => void;
}

export default defineDriver(
  {
    name: 'virtlockd',
    reach: 'file system',
    modes: ['exclusive', 'shared'],
    guarantees: [
      'excludes all that virtlockd locks for libvirt, by the same names, and every program that locks byte 0 of the image',
      'the locks live as long as virtlockd and any process that inherited them',
      'a command that closes the descriptors of its locks is ended by virtlockd',
    ],
    doesNotGuarantee: [
      'anything after virtlockd was killed: it loses its locks, and a command without --supervise is not told',
      'that one disk under two names that only hard links connect is one for virtlockd',
      'that readers can share a disk: reading is locked exclusively',
      'anything against programs that open the disk without asking for a lock',
    ],
    supervise: false,
  },
  (settings) => virtlockdDriver(settings),
);

function virtlockdDriver(given: DriverSettings): Driver {
  const settings = readVirtlockdSettings(given);
  const locks = ProcessLocks.of(settings.socket);
  const grants = new WeakMap<Grant, GrantState>();

  const grantOf = (taken: readonly Taken[]): Grant => {
    const [first] = taken;
    const session = first?.session;
    let forget = (): void => undefined;
    const lost =
      session === undefined
        ? undefined
        : new Promise<Loss>((resolve) => {
            const resources = taken.map(({ request }) => request.resource.label);
            const tell = (cause: HoldfastError): void =>
              resolve({ reason: `${cause.message}: it keeps no lock any longer`, resources, cause });
            session.whenLost.add(tell);
            forget = () => void session.whenLost.delete(tell);
          });
    const grant: Grant = {
      requests: taken.map(({ request }) => request),
      descriptors: [
        ...(session === undefined ? [] : [session.connection.descriptor]),
        ...taken.map(({ inheritance }) => inheritance.descriptor),
      ],
      tokens: {},
      ...(lost === undefined ? {} : { lost }),
    };
    grants.set(grant, { taken, forget });
    return grant;
  };

  /** Ends a grant, and gives what it had. */
  const close = (grant: Grant): readonly Taken[] => {
    const { taken = [], forget } = grants.get(grant) ?? {};
    grants.delete(grant);
    forget?.();
    return taken;
  };

  const takenBy = (grant: Grant): readonly Taken[] => {
    const taken = grants.get(grant)?.taken;
    if (taken === undefined) {
      throw new HoldfastError('ENDED', 'this grant was given back already, or has been replaced');
    }
    return taken;
  };

  const takeAll = (
    owner: Owner,
    requests: readonly LockRequest[],
    signal: AbortSignal,
    before?: LockSession,
  ): Promise<readonly Taken[]> =>
    locks.inTurn(async () => {
      if (requests.length === 0) return [];
      const session = await locks.registered(owner);
      if (before !== undefined && before !== session) {
        throw new HoldfastError('LOST', 'virtlockd was started again: what this grant had is lost');
      }
      const taken: Taken[] = [];
      try {
        for (const request of requests) {
          if (signal.aborted) {
            throw new HoldfastError('ABORTED', 'the caller gave up; nothing is locked', {
              cause: signal.reason,
            });
          }
          const names = lockNames(request.resource, settings);
          if (names.some(({ lockspace }) => lockspace === settings.lockspaceDir)) {
            privateDirectory(settings.lockspaceDir);
          }
          const inheritance = new Inheritance();
          await takeRequest(locks, session, request, names).catch((error: unknown) => {
            inheritance.letGo(() => undefined);
            throw error;
          });
          taken.push({ request, names, session, inheritance });
        }
        return taken;
      } catch (error) {
        for (const { names, inheritance } of taken.toReversed()) {
          inheritance.letGo(() => undefined);
          await locks.release(session, names).catch(() => undefined);
        }
        throw error;
      }
    });

  /** What a command has inherited is given back when the last that has it ends; until then nobody else gets it. */
  const giveBack = async (taken: readonly Taken[]): Promise<void> => {
    const free: Taken[] = [];
    let late = false;
    for (const each of taken) {
      const release = (): Promise<void> => locks.inTurn(() => locks.release(each.session, each.names));
      each.inheritance.letGo(() => {
        // virtlockd that does not answer now is asked again at the next call.
        if (late) void release().catch(() => undefined);
        else free.push(each);
      });
    }
    late = true;
    await locks.inTurn(async () => {
      for (const { session, names } of free.toReversed()) await locks.release(session, names);
    });
  };

  return {
    async acquire(owner, requests, { signal }) {
      return grantOf(await takeAll(owner, requests, signal));
    },
    async release(grant) {
      await giveBack(close(grant));
    },
    async holders(resource) {
      const found = lockNames(resource, settings).flatMap(holdersAt);
      return [...new Map(found.map((holder) => [`${holder.pid} ${holder.mode}`, holder])).values()];
    },
    async extend(grant, owner, requests, { signal }) {
      const before = takenBy(grant);
      const added = await takeAll(owner, requests, signal, before[0]?.session);
      close(grant);
      return grantOf([...before, ...added]);
    },
    async shrink(grant, identities) {
      const before = takenBy(grant);
      const goes = ({ request }: Taken): boolean => identities.includes(request.resource.identity);
      close(grant);
      const left = grantOf(before.filter((taken) => !goes(taken)));
      await giveBack(before.filter(goes));
      return left;
    },
    async probe(requests) {
      const error = await unreachable(locks);
      return requests.map((request) => {
        const holders = probeRequest(request, lockNames(request.resource, settings));
        const { identity } = request.resource;
        const free = holders.length === 0 && error === undefined;
        return { identity, free, holders, ...(error === undefined || holders.length > 0 ? {} : { error }) };
      });
    },
    mapRequest,
    notes: () => settings.notes,
  };
}

/** Why virtlockd cannot be asked, if it cannot. */
async function unreachable(locks: ProcessLocks): Promise<HoldfastError | undefined> {
  try {
    await locks.inTurn(() => locks.connected());
    return undefined;
  } catch (error) {
    if (isHoldfastError(error)) return error;
    throw error;
  }
}

function mapRequest({ resource, mode }: LockRequest): MappedRequest {
  if (resource.storage === 'network') {
    return {
      can: false,
      reason: 'virtlockd locks files, and a network disk has none',
      remedy: 'Use a cluster driver, or accept the danger with --allow-unlocked.',
    };
  }
  const { lease } = resource;
  if (lease?.path !== undefined) {
    const improper = [lease.lockspace, lease.key].find(
      (name) => name === '' || name === '.' || name === '..' || name.includes('/'),
    );
    if (improper !== undefined) {
      return {
        can: false,
        reason: `'${improper}' cannot be the name of a lockspace or key: it has to be a file name`,
      };
    }
    if (lease.offset !== 0) {
      return {
        can: false,
        reason: 'a lease at an offset is one of sanlock; for virtlockd each lease is a file',
        remedy: 'Use the sanlock driver, or offset 0.',
      };
    }
  }
  if (mode === 'exclusive' || mode === 'shared') return { can: true, mode };
  const note = `virtlockd knows no mode '${mode}', so it is locked exclusively`;
  return { can: true, mode: 'exclusive', note };
}
