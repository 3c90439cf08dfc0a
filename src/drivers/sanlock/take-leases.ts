/** Takes leases on a connection, and makes and joins what is automatic about them. */
import type { AcquireOptions, Owner } from '../../driver/contract.js';
import { HoldfastError } from '../../errors.js';
import { monotonicMs } from '../../system/clock.js';
import { makeMissingLease, makeMissingLockspace } from './automatic-lease.js';
import { joinedLockspaces } from './client-library.js';
import type { SanlockLockspace } from './client-structs.js';
import { joinLockspace } from './join-lockspace.js';
import type { LeaseConnection } from './lease-connection.js';
import { asResource } from './lease-holders.js';
import { diskLockspace, diskLockspacePath, type LeaseName } from './libvirt-lease-names.js';
import { SanlockError } from './sanlock-error.js';
import type { SanlockSettings } from './sanlock-settings.js';
import { explainRefusal, leaseKey, type WantedLease } from './wanted-leases.js';

/** Giving back a lease takes the daemon one write to its storage. */
const passingMsMax = 2000;
const passingPauseMs = 10;

/**
 * Throws what the refusal means; then nothing was taken.
 * @param before the versions that they must still have: else somebody has had one in between, which is `LOST`
 */
export async function takeLeases(
  connection: LeaseConnection,
  owner: Owner,
  wanted: readonly WantedLease[],
  settings: SanlockSettings,
  options: AcquireOptions,
  before?: ReadonlyMap<string, bigint>,
): Promise<void> {
  if (wanted.length === 0) return;
  const resources = wanted.map(({ lease, shared }) =>
    asResource(lease, shared, before?.get(leaseKey(lease))),
  );
  const end = monotonicMs() + passingMsMax;
  for (let joined = false; ;) {
    if (options.signal.aborted) {
      throw new HoldfastError('ABORTED', 'the caller gave up; nothing is locked', {
        cause: options.signal.reason,
      });
    }
    for (const { lease, request } of wanted) await makeMissingLease(lease, request.resource.label, settings);
    try {
      await connection.acquire(resources, owner.name);
      return;
    } catch (error) {
      if (!(error instanceof SanlockError)) throw error;
      if (error.code === 'ENOSPC' && !joined && (await join(wanted, settings, options))) {
        joined = true;
        continue;
      }
      if (isPassing(error, wanted) && monotonicMs() < end) {
        await new Promise((resolve) => setTimeout(resolve, passingPauseMs));
        continue;
      }
      if (error.code === 'acquireLver') throw hadBetween(wanted, error);
      throw await explainRefusal(error, wanted);
    }
  }
}

/**
 * Joins what is missing of the lockspaces, as far as their places and this host's numbers are known, and waits for those that somebody
 * is just joining; false: nothing could be done.
 */
async function join(
  wanted: readonly WantedLease[],
  settings: SanlockSettings,
  options: AcquireOptions,
): Promise<boolean> {
  const there = await joinedLockspaces();
  const first = new Map(wanted.toReversed().map((one) => [one.lease.lockspace, one]));
  const missing = [...first].flatMap(([name, { lease, request }]) => {
    const known = there.find((one) => one.name === name);
    if (known?.state === 'joined') return [];
    const lockspace = known?.state === 'adding' ? known : placeOf(lease, settings);
    return lockspace === undefined ? [] : [{ lockspace, label: request.resource.label, lease }];
  });
  const failure = new AbortController();
  const signal = AbortSignal.any([options.signal, failure.signal]);
  // At once, since each takes its time. The first that fails is what is said.
  await Promise.all(
    missing.map(async ({ lockspace, label, lease }) => {
      const { ioTimeoutSeconds = 0 } = settings;
      if (lease.automatic) await makeMissingLockspace(lockspace, ioTimeoutSeconds, label, settings);
      await joinLockspace(lockspace, ioTimeoutSeconds, label, { ...options, signal });
    }),
  ).finally(() => failure.abort());
  return missing.length > 0;
}

function placeOf(lease: LeaseName, settings: SanlockSettings): SanlockLockspace | undefined {
  const { diskLeaseDir, hostId, lockspaces = [] } = settings;
  if (!lease.automatic) return lockspaces.find(({ name }) => name === lease.lockspace);
  if (diskLeaseDir === undefined || hostId === undefined) return undefined;
  return { name: diskLockspace, hostId, path: diskLockspacePath(diskLeaseDir), offset: 0 };
}

/** What is over in a moment: a lease that is being given back, or that libvirt is just making. */
function isPassing({ code }: SanlockError, wanted: readonly WantedLease[]): boolean {
  return code === 'EAGAIN' || (code === 'leaderMagic' && wanted.some(({ lease }) => lease.automatic));
}

function hadBetween(wanted: readonly WantedLease[], cause: SanlockError): HoldfastError {
  const labels = wanted.map(({ request }) => request.resource.label).join(', ');
  return new HoldfastError('LOST', `somebody else has had one of the leases of ${labels} in between`, {
    cause,
  });
}
