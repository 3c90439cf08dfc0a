/**
 * The front door of planning: from a guest's description to a verdict for each thing that it uses. Nothing is
 * locked here, and no driver is known. Between the plan and the lock things move: `stillThere` and `planChanged`
 * tell whether they did.
 */
import type {
  DiskDescription,
  GuestDescription,
  LeaseDescription,
  LockRequest,
  Plan,
  PlanItem,
} from '../vocabulary.js';
import { lookAtPath, type Seen } from './look-at-path.js';
import { mergeRequests } from './merge-requests.js';
import type { PlanOptions } from './plan-options.js';
import { ancestorItems, planSource, type PlannedSource } from './plan-source.js';
import { Planner } from './planner.js';
import { beginsLikeQcow2 } from './qcow2-magic.js';
import { readSurroundings } from './surroundings.js';

export type { PlanOptions } from './plan-options.js';
export { joinPlans, withoutName } from './change-plan.js';
export { planChanged, stillThere } from './still-there.js';

async function planDisk(disk: DiskDescription, planner: Planner): Promise<PlanItem[]> {
  const top = planSource(disk, { role: disk.role, mode: disk.mode }, planner);
  const { item } = top;
  if (item.verdict !== 'lock' || item.mode === undefined || item.mode === 'peek') return [item];
  sayUntoldFormat(disk, top, planner);
  if (item.mode === 'shared' && disk.format !== undefined && disk.format !== 'raw') {
    planner.note(
      `${item.label}: only raw images can be shared; QEMU refuses a second writer of ${disk.format}`,
    );
  }
  const around = [item, ...ancestorItems(item, planner)];
  if (!hasMore(disk)) return around;
  const { planChain } = await import('./plan-chain.js');
  return [...around, ...(await planChain(disk, top, item.mode, planner))];
}

/** Whether anything can be below or beside an image; else what reads that is not loaded. */
function hasMore({ format, backing, dataStore }: DiskDescription): boolean {
  return (format !== undefined && format !== 'raw') || backing !== undefined || dataStore !== undefined;
}

/**
 * A path on a command line has no format, so nothing below it is planned. If it begins like a qcow2 image, somebody
 * has probably forgotten to say so. Only said, never acted on: a guest can write that header into a raw disk.
 */
function sayUntoldFormat(
  { format, backing, place }: DiskDescription,
  top: PlannedSource,
  planner: Planner,
): void {
  if (!planner.hints || format !== undefined || backing !== undefined || place !== undefined) return;
  if (top.seen === undefined || top.seen.storage === 'directory' || !beginsLikeQcow2(top.seen)) return;
  const { label } = top.item;
  planner.note(
    `${label} begins like a qcow2 image, but nobody said that it is one: base images below it are not locked (${label}:format=qcow2 says it)`,
  );
}

/** Where leases are kept is made by whoever runs the cluster: made here, an unmounted share would be locked alone. */
function planLease(lease: LeaseDescription, planner: Planner): PlanItem {
  const realPath = planner.identityOnly ? undefined : whereKept(lease)?.realPath;
  return {
    role: 'lease',
    label: lease.label,
    ...(lease.place === undefined ? {} : { place: lease.place }),
    verdict: 'lock',
    mode: 'exclusive',
    resource: planner.identities.leaseResource(lease, realPath),
  };
}

function plannedItem({ resource, mode }: LockRequest): PlanItem {
  const role = mode === 'part' ? 'ancestor' : resource.kind;
  return { role, label: resource.label, verdict: 'lock', mode, resource };
}

function whereKept({ label, path, place }: LeaseDescription): Seen | undefined {
  if (path === undefined) return undefined;
  return lookAtPath(path, `lease ${label}`, { resource: label, ...(place === undefined ? {} : { place }) });
}

/**
 * Plans a guest. The items are in a fixed order: the domain, each disk with what is around and below it, the
 * leases; the requests are sorted by identity and name each once.
 *
 * Throws when nothing can be planned: `NO_SUCH_FILE`, `NOT_READABLE`, `NOT_A_DISK`, `RELATIVE_PATH`, `BAD_DATA`
 * (a damaged header, a chain that is a circle), `MOVED`. What can be shown in a plan is an item with the verdict
 * `refuse` and a code: `SAME_DISK_TWICE`, `CANNOT_LOCK`.
 */
export async function makePlan(guest: GuestDescription, options: PlanOptions = {}): Promise<Plan> {
  const planner = new Planner(readSurroundings(options), options);
  const items: PlanItem[] = [];
  for (const domain of [guest.owner, ...(guest.otherDomains ?? [])]) {
    if (domain.kind !== 'domain' || guest.requests !== undefined) continue;
    const resource = planner.identities.domainResource(domain);
    items.push({ role: 'domain', label: resource.label, verdict: 'lock', mode: 'exclusive', resource });
  }
  for (const disk of guest.disks) items.push(...(await planDisk(disk, planner)));
  for (const lease of guest.leases) items.push(planLease(lease, planner));
  for (const request of guest.requests ?? []) items.push(plannedItem(request));
  return {
    owner: guest.owner,
    ...mergeRequests(items),
    notes: planner.notes,
    headersRead: planner.headersRead,
    ...(guest.onLockFailure === undefined ? {} : { onLockFailure: guest.onLockFailure }),
  };
}
