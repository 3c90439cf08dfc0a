/** Which leases requests need, and what a refusal of them means. */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { HoldfastError } from '../../errors.js';
import type { Holder, LockRequest, Resource } from '../../vocabulary.js';
import { joinedLockspaces } from './client-library.js';
import { leasesMax } from './client-structs.js';
import {
  isInUse,
  isUnreachable,
  leaseFault,
  leaseText,
  notJoined,
  quoted,
  unreachable,
} from './explain-result.js';
import { leaseHolders } from './lease-holders.js';
import { leasesOf, type LeaseName } from './libvirt-lease-names.js';
import type { LibvirtSanlockSettings } from './libvirt-sanlock-settings.js';
import { SanlockError } from './sanlock-error.js';

/** One lease, and what it is taken for. */
export interface WantedLease {
  readonly lease: LeaseName;
  readonly shared: boolean;
  readonly request: LockRequest;
}

/** Names that sanlock tells leases by, wherever they are kept. */
export function leaseKey({ lockspace, name }: LeaseName): string {
  return `${lockspace}:${name}`;
}

/** Throws `CANNOT_LOCK` for what sanlock has no lease for. */
export function leasesFor(resource: Resource, settings: LibvirtSanlockSettings): readonly LeaseName[] {
  const found = leasesOf(resource, settings);
  if ('leases' in found) return found.leases;
  throw new HoldfastError('CANNOT_LOCK', `${resource.label} cannot be locked: ${found.reason}`, {
    resource: resource.label,
    ...(found.remedy === undefined ? {} : { remedy: found.remedy }),
  });
}

/** Each lease once, in the stricter mode where two requests need it. */
export function wantedLeases(
  requests: readonly LockRequest[],
  settings: LibvirtSanlockSettings,
): readonly WantedLease[] {
  const wanted = new Map<string, WantedLease>();
  for (const request of requests) {
    const shared = request.mode === 'shared';
    for (const lease of leasesFor(request.resource, settings)) {
      const before = wanted.get(leaseKey(lease));
      if (before === undefined || (before.shared && !shared)) {
        wanted.set(leaseKey(lease), { lease, shared, request });
      }
    }
  }
  return [...wanted.values()];
}

/**
 * Throws `CANNOT_LOCK` if it is more than one process can have. sanlock takes 8 in one call, all or none; libvirt gives no
 * guest more.
 */
export function requireFew(count: number, label: string): void {
  if (count <= leasesMax) return;
  throw new HoldfastError(
    'CANNOT_LOCK',
    `${label} and the others need ${count} sanlock leases, and sanlock takes at most ${leasesMax} for one process`,
    {
      resource: label,
      remedy:
        'Let several disks share one lease (--lease, or <lease> in the XML), or use another driver. A disk that is known by several paths needs a lease for each.',
    },
  );
}

/** Why `acquire` failed: the daemon does not say of which lease it was. */
export async function explainRefusal(
  refused: SanlockError,
  wanted: readonly WantedLease[],
): Promise<HoldfastError> {
  if (isUnreachable(refused)) return unreachable(refused);
  const joined = await joinedLockspaces().catch(() => undefined);
  for (const { lease, request } of wanted) {
    const { label } = request.resource;
    if (joined !== undefined && !joined.some(({ name }) => name === lease.lockspace)) {
      return notJoined(lease, label, refused);
    }
    try {
      const holders = await leaseHolders(lease);
      const inTheWay = holders.filter(({ refuses }) => refuses?.includes(request.mode) !== false);
      if (inTheWay.length > 0) return inUse(request, inTheWay);
    } catch (cause) {
      if (!(cause instanceof SanlockError)) throw cause;
      return leaseFault(cause, lease, label);
    }
  }
  const [first] = wanted;
  if (first === undefined) return new HoldfastError('DRIVER_FAILED', refused.message, { cause: refused });
  // It was let go in the meantime.
  if (isInUse(refused)) return inUse(first.request, []);
  // Each can be read, so none ends too early.
  if (refused.code === 'EMSGSIZE') return otherForm(first, refused);
  return leaseFault(refused, first.lease, first.request.resource.label);
}

function otherForm({ lease, request: { resource } }: WantedLease, cause: SanlockError): HoldfastError {
  const message = `${resource.label}: its lease has sectors or a size that are not those of its lockspace ${lease.lockspace}`;
  return new HoldfastError('NO_LEASE', message, {
    resource: resource.label,
    cause,
    remedy: `See both, and make the lease anew: holdfast lease show --json ${quoted(lease.path.replaceAll(':', '\\:'))}, holdfast lease init --force --sector=... --align=... ${quoted(leaseText(lease))}`,
  });
}

function inUse({ resource, mode }: LockRequest, holders: readonly Holder[]): HoldfastError {
  const words = mode === 'shared' ? 'shared' : 'exclusively';
  return new HoldfastError('IN_USE', `${resource.label} is in use (you asked for it ${words})`, {
    resource: resource.label,
    mode,
    holders,
  });
}

/** Everyone who owns a lease of a resource. Throws what a lease that cannot be read means. */
export async function resourceHolders(
  resource: Resource,
  settings: LibvirtSanlockSettings,
): Promise<readonly Holder[]> {
  const found = new Map<string, Holder>();
  const leases = leasesFor(resource, settings);
  // A lease that is not there and a daemon that is not are one errno.
  await joinedLockspaces().catch((error: unknown) => {
    throw error instanceof SanlockError ? unreachable(error) : error;
  });
  for (const lease of leases) {
    try {
      for (const holder of await leaseHolders(lease)) {
        found.set(`${holder.host} ${holder.pid} ${holder.mode}`, holder);
      }
    } catch (error) {
      if (!(error instanceof SanlockError)) throw error;
      // libvirt makes such a lease when it is first needed: nobody has needed it.
      if (lease.automatic && error.code === 'ENOENT' && existsSync(dirname(lease.path))) continue;
      throw leaseFault(error, lease, resource.label);
    }
  }
  return [...found.values()];
}
