/**
 * The holdfastd driver: leaves holding to the lock daemon, which outlives its own end.
 *
 * Guarantees: what the daemon's drivers guarantee (fcntl, unless it is set otherwise), for as long as the process that
 * asked lives, or any that inherited the grant's witness; a restart, a crash or a kill of the daemon opens no gap. A
 * command that closes its descriptors keeps its locks until it ends.
 * Does not guarantee: anything where the daemon is stopped, or killed together with its keeper: then the locks are free
 * until it runs again. A process that was moved to another pid namespace is not seen.
 * Depends on: a holdfastd with a socket that this user may use, on this host, in the same pid namespace.
 */
import {
  defineDriver,
  HoldfastError,
  type AcquireOptions,
  type Driver,
  type DriverSettings,
  type Grant,
  type LockRequest,
  type MappedRequest,
  type Owner,
} from '../../driver/contract.js';
import type { DaemonDriver, DaemonHold, DaemonState } from '../../daemon-client/daemon-answers.js';
import { DaemonClient } from '../../daemon-client/daemon-client.js';
import { causeText, isHoldfastError } from '../../errors.js';
import { randomUuid } from '../../system/random.js';
import type { LossAction } from '../../vocabulary.js';
import { giveBack, giveBackByWitness } from './give-back.js';
import { lossOf } from './hold-loss.js';
import { readHoldfastdSettings } from './holdfastd-settings.js';
import { untilWorthAsking } from './worth-asking.js';
import { Witness } from './witness.js';

/** What the daemon holds for a grant; it stays the same when the grant grows or shrinks. */
interface Held {
  readonly id: string;
  readonly witness: Witness;
}

interface GrantState {
  /** Undefined: nothing was asked for. */
  readonly held: Held | undefined;
  /** No longer to be told of a loss. */
  readonly forget: () => void;
}

export default defineDriver(
  {
    name: 'holdfastd',
    reach: 'file system',
    modes: ['exclusive', 'shared', 'read', 'part'],
    guarantees: [
      'what the drivers of the daemon guarantee: fcntl, unless it is set otherwise',
      'the locks live as long as the command, whatever it closes, and as any process that inherited from it',
      'a restart, a crash or a kill of the daemon loses no lock and opens no gap',
    ],
    doesNotGuarantee: [
      'anything while the daemon is stopped, or was killed together with its keeper',
      'that a process which closed all its descriptors keeps the locks after the command',
      'what the drivers of the daemon do not guarantee',
    ],
    supervise: false,
    passesLossWish: true,
  },
  (settings) => holdfastdDriver(settings),
);

async function holdfastdDriver(given: DriverSettings): Promise<Driver> {
  const settings = readHoldfastdSettings(given);
  const daemon = new DaemonClient(settings.socket);
  const { drivers, failure } = await driversOf(daemon);
  const grants = new WeakMap<Grant, GrantState>();
  /** What is held otherwise is held as long as its owner lives, and a daemon of an earlier version does not know the field. */
  const canLose = drivers.length === 0 || drivers.some(({ reach }) => reach === 'cluster');

  const grantOf = (
    held: Held | undefined,
    hold: Pick<DaemonHold, 'requests' | 'tokens' | 'notes'>,
  ): Grant => {
    const loss = held === undefined ? undefined : lossOf(daemon, held.id, labels(hold.requests));
    const grant: Grant = {
      requests: hold.requests,
      descriptors: held?.witness.descriptors ?? [],
      tokens: hold.tokens,
      ...(loss === undefined ? {} : { lost: loss.lost }),
      notes: hold.notes,
    };
    grants.set(grant, { held, forget: loss?.forget ?? (() => undefined) });
    return grant;
  };

  const stateOf = (grant: Grant): GrantState => {
    const state = grants.get(grant);
    if (state !== undefined) return state;
    throw new HoldfastError('ENDED', 'this grant was given back already, or has been replaced');
  };

  /** Ends a grant, which another takes the place of. */
  const replaced = (grant: Grant): Held | undefined => {
    const { held, forget } = stateOf(grant);
    grants.delete(grant);
    forget();
    return held;
  };

  const acquire = async (
    owner: Owner,
    requests: readonly LockRequest[],
    { signal, lossWish }: AcquireOptions,
  ): Promise<Grant> => {
    if (signal.aborted) {
      throw new HoldfastError('ABORTED', 'the caller gave up; nothing is locked', { cause: signal.reason });
    }
    if (requests.length === 0) return grantOf(undefined, nothing);
    const witness = Witness.make(settings.witnessDir);
    try {
      // Not given up halfway: what is granted then, the manager gives back.
      const hold = await daemon.lock(owner, requests, witness.path, {
        ...asPlanned,
        onLost: canLose ? daemonsAction(lossWish) : undefined,
      });
      return grantOf({ id: hold.id, witness }, asAsked(hold, requests));
    } catch (error) {
      witness.letGo(() => undefined);
      if (isHoldfastError(error, 'DRIVER_FAILED'))
        await giveBackByWitness(daemon, witness.path).catch(() => undefined);
      throw error;
    }
  };

  const states = async (
    requests: readonly LockRequest[],
    explain = false,
  ): Promise<readonly DaemonState[]> => {
    const owner = { kind: 'command', name: 'holdfast', uuid: randomUuid() } as const;
    return requests.length === 0 ? [] : daemon.states({ requests, owner }, explain);
  };

  const canPause =
    drivers.length > 0 && drivers.every(({ abilities }) => pausing.every((name) => abilities.includes(name)));
  return {
    acquire,
    async release(grant) {
      const held = grants.has(grant) ? replaced(grant) : undefined;
      if (held !== undefined) await endOf(held, daemon);
    },
    async holders(resource) {
      const [state] = await states([{ resource, mode: 'exclusive' }], true);
      return state?.free === false ? state.holders : [];
    },
    async extend(grant, owner, requests, options) {
      const { held } = stateOf(grant);
      if (held === undefined) {
        replaced(grant);
        return acquire(owner, requests, options);
      }
      const hold = await daemon.extend(held.id, { requests, owner }, asPlanned);
      replaced(grant);
      return grantOf(held, asAsked(hold, [...grant.requests, ...requests]));
    },
    async shrink(grant, identities) {
      const { held } = stateOf(grant);
      const left = grant.requests.filter(({ resource }) => !identities.includes(resource.identity));
      if (held === undefined || left.length === grant.requests.length) return grant;
      if (left.length === 0) {
        replaced(grant);
        await endOf(held, daemon);
        return grantOf(undefined, nothing);
      }
      const hold = await daemon.shrink(held.id, identities);
      replaced(grant);
      return grantOf(held, asAsked(hold, left));
    },
    ...(canPause
      ? {
          async suspend(grant: Grant) {
            const { held } = stateOf(grant);
            if (held !== undefined) await daemon.suspend(held.id);
          },
          async resume(grant: Grant) {
            const { held } = stateOf(grant);
            if (held === undefined) return grant;
            const hold = await daemon.resume(held.id);
            replaced(grant);
            return grantOf(held, asAsked(hold, grant.requests));
          },
        }
      : {}),
    async probe(requests) {
      return (await states(requests)).map(({ identity, free, holders, code, reason, remedy }) => {
        if (free) return { identity, free, holders: [] };
        const known = { identity, free, holders };
        if (holders.length > 0 || code === undefined) return known;
        const error = new HoldfastError(
          code,
          reason ?? 'it cannot be locked',
          remedy === undefined ? {} : { remedy },
        );
        return { ...known, error };
      });
    },
    wait: (_owner, requests, { signal }) =>
      untilWorthAsking(
        daemon,
        requests,
        async () => (await states(requests)).every(({ free }) => free),
        signal,
      ),
    mapRequest: (request) => mapRequest(request, drivers),
    notes: () => (failure === undefined ? [] : [failure]),
  };
}

const labels = (requests: readonly LockRequest[]): string[] => requests.map(({ resource }) => resource.label);
/**
 * The manager here waits, names who is in the way, and has looked for uses without a lock, or wants to go on all the same.
 * What the daemon cannot lock is missing in its answer, and so in the grant.
 */
const asPlanned = { wait: false, allowUnlocked: true, explain: false } as const;
const nothing = { requests: [], tokens: {}, notes: [] } as const;
const pausing: readonly string[] = ['suspend', 'resume'];

/** Whoever stays beside the command starts it again; for the daemon it is to be ended then. */
function daemonsAction(wish: AcquireOptions['lossWish']): LossAction | undefined {
  return wish?.action === 'restart' && wish.supervised ? 'poweroff' : wish?.action;
}

/** What the daemon can lock, or why that is not known: it may run when something is to be locked. */
async function driversOf(
  daemon: DaemonClient,
): Promise<{ readonly drivers: readonly DaemonDriver[]; readonly failure?: string }> {
  try {
    return { drivers: await daemon.drivers() };
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    return { drivers: [], failure: causeText(error) };
  }
}

/** A hold's requests as they were asked for: the same resources, in the modes that the daemon says. */
function asAsked(hold: DaemonHold, requests: readonly LockRequest[]): DaemonHold {
  const granted = new Map(hold.requests.map(({ resource, mode }) => [resource.identity, mode]));
  return {
    ...hold,
    requests: requests.flatMap(({ resource }) => {
      const mode = granted.get(resource.identity);
      return mode === undefined ? [] : [{ resource, mode }];
    }),
  };
}

/** Ends a hold, at once if no command has inherited its witness, else when the last that has it ends. */
async function endOf({ id, witness }: Held, daemon: DaemonClient): Promise<void> {
  let late = false;
  let free = false;
  witness.letGo(() => {
    free = true;
    // If it cannot be said then, the daemon finds the witness unlocked when this process has ended.
    if (late) void giveBack(daemon, id).catch(() => undefined);
  });
  late = true;
  if (free) await giveBack(daemon, id);
}

function mapRequest({ resource, mode }: LockRequest, drivers: readonly DaemonDriver[]): MappedRequest {
  if (resource.storage === 'network' && drivers.every(({ reach }) => reach !== 'cluster')) {
    return {
      can: false,
      reason: 'the drivers of the daemon have no locks for network disks',
      remedy: 'Use a cluster driver, or accept the danger with --allow-unlocked.',
    };
  }
  if (drivers.length === 0 || drivers.some(({ modes }) => modes.includes(mode))) return { can: true, mode };
  const names = drivers.map(({ name }) => name).join(', ');
  return {
    can: true,
    mode: 'exclusive',
    note: `the daemon's driver ${names} knows no mode '${mode}', so it is locked exclusively`,
  };
}
