/** From items to requests: each identity once, in one mode, in the order in which everyone locks. */
import type { LockRequest, Mode, PlanItem, Resource } from '../vocabulary.js';

export interface MergedPlan {
  /** The items, those refused that cannot be locked by one guest at once. */
  readonly items: readonly PlanItem[];
  readonly requests: readonly LockRequest[];
}

interface Use {
  readonly index: number;
  readonly item: PlanItem;
  readonly mode: Mode;
}

/** How an item is called among others: `vda /a.img`, `/b.img below /a.qcow2`. */
function nameOf({ role, label, target, of }: PlanItem): string {
  if (role === 'base') return `${label} below ${of ?? 'it'}`;
  if (role === 'ancestor') return `${label}, which ${of ?? 'it'} is a part of or stands on`;
  if (target !== undefined) return `${target} ${label}`;
  return role === 'disk' ? label : `${role} ${label}`;
}

/** The XML says each disk once, and each has a place or a target; arguments of a command can repeat themselves. */
function fromXml({ target, place }: PlanItem): boolean {
  return target !== undefined || place !== undefined;
}

/**
 * What has to be alone with a disk that is written. Arguments of a command claim nothing against each other or
 * against an XML: the owner is the same. One folder can be shared under several tags, one lease named several times.
 */
function claimOf({ item, index }: Use): string | undefined {
  if (item.role === 'filesystem' || item.role === 'lease') return undefined;
  // A file with the data of an image is that image's: of two images it cannot be.
  if (item.of !== undefined) return `of ${item.of}`;
  return fromXml(item) ? `item ${index}` : undefined;
}

/** The mode that all uses of one identity come to; undefined: no guest can have them at once. */
function mergedMode(uses: readonly Use[]): Mode | undefined {
  const [first, ...others] = uses;
  if (first === undefined) return undefined;
  const writers = uses.filter(({ mode }) => mode === 'exclusive');
  if (writers.length === 0) return others.every(({ mode }) => mode === first.mode) ? first.mode : undefined;
  const readers = uses.filter(({ mode }) => mode !== 'exclusive');
  if (readers.length > 0) {
    // An active commit writes into the base of the very disk, and the XML says that base as the mirror.
    const commit =
      writers.every(({ item }) => item.role === 'mirror') &&
      readers.every(({ item }) => item.role === 'base');
    return commit ? 'exclusive' : undefined;
  }
  return new Set(writers.map(claimOf).filter((claim) => claim !== undefined)).size > 1
    ? undefined
    : 'exclusive';
}

/** Enough to find them; a thousand names of one disk would help nobody. */
const othersNamed = 5;

function refused(uses: readonly Use[]): readonly PlanItem[] {
  // The same few for each: naming all others of each would take the square of their number.
  const few = uses
    .slice(0, othersNamed + 1)
    .map((use) => ({ use, name: `${nameOf(use.item)} (${use.mode})` }));
  const remedy = uses.some(({ mode }) => mode === 'part')
    ? 'A guest cannot have a device and a part of it at once: remove one of the two.'
    : uses.some(({ item }) => item.role === 'base')
      ? 'An image cannot be written and be the base of another: remove one of the two.'
      : 'Remove one of the two, or make both <shareable/> or <readonly/>.';
  return uses.map((use) => {
    const names = few.filter((other) => other.use !== use).slice(0, othersNamed);
    const others = names.map(({ name }) => name).join(', ');
    const reason = `asked for as ${use.mode}, and it is the same storage as ${others}`;
    return { ...use.item, verdict: 'refuse', code: 'SAME_DISK_TWICE', reason, remedy };
  });
}

/** By code units, so that the order is the same on every host and in every language. */
function byIdentity(a: LockRequest, b: LockRequest): number {
  if (a.resource.identity === b.resource.identity) return 0;
  return a.resource.identity < b.resource.identity ? -1 : 1;
}

/** Every path counts: libvirt hashes the one that its XML says, and each has to lead to the same storage still. */
function withOtherPaths(resource: Resource, uses: readonly Use[]): Resource {
  if (uses.length === 1) return resource;
  const paths = new Set(uses.flatMap(({ item }) => item.resource?.path ?? []));
  if (resource.path !== undefined) paths.delete(resource.path);
  return paths.size === 0 ? resource : { ...resource, otherPaths: [...paths] };
}

/** Of a lease: the first use for each place where it is said to be kept, by whatever name of the place. */
function keptIn(uses: readonly Use[]): readonly Use[] {
  const places = new Map<string, Use>();
  for (const use of uses) {
    const { lease, realPath } = use.item.resource ?? {};
    if (lease?.path === undefined) continue;
    const place = `${realPath ?? lease.path} ${lease.offset}`;
    if (!places.has(place)) places.set(place, use);
  }
  return [...places.values()];
}

/** Only one of the places would be locked, so none is. */
function refusedPlaces(uses: readonly Use[], kept: readonly Use[]): readonly PlanItem[] {
  const places = kept.slice(0, othersNamed).map(({ item: { resource } }) => {
    const { path = '', offset = 0 } = resource?.lease ?? {};
    return offset === 0 ? path : `${path} at ${offset}`;
  });
  const reason = `one lease cannot be kept in two places: ${places.join(', ')}`;
  const remedy = 'Name it with one path, or give the leases different keys.';
  return uses.map(({ item }) => ({ ...item, verdict: 'refuse', code: 'BAD_DATA', reason, remedy }));
}

/** Brings the uses of each identity together, and refuses what one guest cannot have twice. */
export function mergeRequests(items: readonly PlanItem[]): MergedPlan {
  const groups = new Map<string, Use[]>();
  for (const [index, item] of items.entries()) {
    const { verdict, mode, resource } = item;
    if (verdict !== 'lock' || resource === undefined || mode === undefined || mode === 'peek') continue;
    const use: Use = { index, item, mode };
    const group = groups.get(resource.identity);
    if (group === undefined) groups.set(resource.identity, [use]);
    else group.push(use);
  }
  const merged = [...items];
  const requests: LockRequest[] = [];
  for (const uses of groups.values()) {
    const mode = mergedMode(uses);
    const kept = keptIn(uses);
    if (mode === undefined || kept.length > 1) {
      const refusals = mode === undefined ? refused(uses) : refusedPlaces(uses, kept);
      for (const [index, item] of refusals.entries()) merged[uses[index]?.index ?? 0] = item;
      continue;
    }
    const resource = (kept[0] ?? uses.find((use) => use.mode === mode))?.item.resource;
    if (resource !== undefined) requests.push({ resource: withOtherPaths(resource, uses), mode });
  }
  return { items: merged, requests: requests.toSorted(byIdentity) };
}
