/**
 * State that travels along with a migration (`inquire`), and what its receiver finds out with it: whether anybody else had the locks
 * since. It names the keys and the revisions in which the giver put them; etcd tells what happened to those identities from there on.
 */
import { HoldfastError } from '../../errors.js';
import type { LockRequest, Mode, Owner } from '../../vocabulary.js';
import type { Connection } from './connection.js';
import { grantOf, type HeldLock, type Holding } from './holding.js';
import { clusterIdentity } from './keys.js';
import { seenUpTo, trouble, watchOthers } from './watch-others.js';

/** What is taken of an owner: enough to tell him from others. */
type Giver = Pick<Owner, 'uuid' | 'pid' | 'startTime' | 'hostId'>;

/** JSON. Fields are added, never changed. */
interface WrittenState {
  readonly format: 1;
  readonly driver: 'etcd';
  readonly cluster: string;
  readonly prefix: string;
  readonly giver: Giver;
  /** By the identity of the resource on the giver's host. */
  readonly tokens: Readonly<Record<string, string>>;
  readonly locks: readonly {
    readonly identity: string;
    readonly mode: Mode;
    readonly key: string;
    readonly revision: number;
  }[];
}

/** What was held before, by what it is called in the cluster. */
export interface TravellingState {
  readonly giver: Giver;
  /** Each with the request of the receiver, in the mode that the giver had. */
  readonly locks: readonly HeldLock[];
}

export function inquire({ settings }: Connection, holding: Holding): string {
  const { owner, session, state } = holding;
  // The one who takes it next may be asked for while the guest is paused here.
  if (state !== 'suspended') holding.requireHeld();
  const { uuid, pid, startTime, hostId } = owner;
  return JSON.stringify({
    format: 1,
    driver: 'etcd',
    cluster: session.clusterId,
    prefix: settings.prefix,
    giver: { uuid, pid, startTime, hostId },
    tokens: grantOf(holding).tokens,
    locks: [...holding.locks.values()].map(({ request: { mode }, identity, key, revision }) => ({
      identity,
      mode,
      key,
      revision,
    })),
  } satisfies WrittenState);
}

/**
 * What is said of these requests; what only this host has nobody can have handed over, so it is left out. Throws `BAD_DATA`,
 * `CLUSTER_...`.
 */
export async function readState(
  connection: Connection,
  text: string,
  requests: readonly LockRequest[],
): Promise<TravellingState> {
  const { settings, hostId } = connection;
  const state = parse(text);
  const { clusterId } = await connection.session();
  if (state === undefined || state.prefix !== settings.prefix || state.cluster !== clusterId) {
    throw new HoldfastError('BAD_DATA', 'this is no state of the driver etcd in the same cluster and prefix');
  }
  const said = new Map(state.locks.map((lock) => [lock.identity, lock]));
  const locks = requests.flatMap((request): HeldLock[] => {
    const identity = clusterIdentity(request.resource, hostId);
    const lock = said.get(identity);
    if (lock !== undefined) return [{ ...lock, request: { ...request, mode: lock.mode } }];
    if (request.resource.scope === 'host') return [];
    const { label } = request.resource;
    throw new HoldfastError('BAD_DATA', `the state says nothing of ${label}`, { resource: label });
  });
  return { giver: state.giver, locks };
}

/**
 * Throws `LOST` unless nobody but the giver had any of it from then until the revision of its key in `now`, by identity;
 * `ABORTED`, `CLUSTER_...` where that cannot be seen.
 */
export async function requireUntouched(
  connection: Connection,
  { giver, locks }: TravellingState,
  now: readonly Pick<HeldLock, 'identity' | 'revision'>[],
  signal: AbortSignal,
): Promise<void> {
  const until = new Map(now.map(({ identity, revision }) => [identity, revision]));
  const between = locks.filter(({ identity, revision }) => (until.get(identity) ?? 0) !== revision);
  const [first] = between;
  if (first === undefined) return;
  const lost = (what: string): HoldfastError =>
    new HoldfastError('LOST', what, { resource: first.request.resource.label });
  // A cluster that was restored from a backup counts its revisions again.
  if (between.some(({ identity, revision }) => (until.get(identity) ?? 0) < revision))
    throw lost('the state is of a later time than etcd knows of');
  const last = Math.max(...between.map(({ identity }) => until.get(identity) ?? 0));
  const pause = await watchOthers(connection, between, ({ revision }) => revision + 1, giver);
  for (const revision of until.values()) pause.own.add(revision);
  try {
    await seenUpTo(pause, until, connection.settings.client.callMs, signal);
    const found = trouble(pause, last);
    if (found !== undefined) throw lost(found);
  } finally {
    pause.stop();
  }
}

function parse(text: string): WrittenState | undefined {
  try {
    const value = JSON.parse(text) as Partial<WrittenState> | null;
    if (value?.format !== 1 || value.driver !== 'etcd' || !Array.isArray(value.locks)) return undefined;
    const isLock = ({ identity, key, revision }: Partial<WrittenState['locks'][number]>): boolean =>
      typeof identity === 'string' && typeof key === 'string' && Number.isSafeInteger(revision);
    return typeof value.giver === 'object' && value.locks.every(isLock) ? (value as WrittenState) : undefined;
  } catch {
    return undefined;
  }
}
