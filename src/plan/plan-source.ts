/** The verdict on one source of the guest's: a disk, or something below one that the XML names. */
import { HoldfastError, isHoldfastError } from '../errors.js';
import type { AskedMode, DiskDescription, PlanItem, Resource, Role, Source } from '../vocabulary.js';
import { characterDevice, isMissing, lookAtPath, printable, type Seen } from './look-at-path.js';
import { networkIdentity, nvmeIdentity } from './network-identity.js';
import type { Planner } from './planner.js';

export interface PlannedSource {
  readonly item: PlanItem;
  /** What stands at its path, for sources that have one. */
  readonly seen?: Seen;
}

/** What an item takes over from the description, whatever the verdict. */
export type ItemBase = Pick<PlanItem, 'role' | 'label' | 'target' | 'place' | 'cache' | 'of'>;

/** How messages call a disk: `disk vda`, `nvram`. */
export function whatIs(disk: Pick<DiskDescription, 'role' | 'target'>): string {
  return disk.target === undefined ? disk.role : `${disk.role} ${disk.target}`;
}

function lockItem(base: ItemBase, resource: Resource, mode: AskedMode, note: string | undefined): PlanItem {
  if (mode === 'peek') return { ...base, verdict: 'skip', mode, resource, reason: 'only looked at: no lock' };
  return { ...base, verdict: 'lock', mode, resource, ...(note === undefined ? {} : { reason: note }) };
}

function unresolvedVolume(
  base: ItemBase,
  source: Extract<Source, { type: 'volume' }>,
  note: string | undefined,
  planner: Planner,
): PlanItem {
  const why = note ?? 'libvirt was not asked where that is';
  const reason = `it is the volume ${source.volume} of libvirt's pool ${source.pool}, and ${why}`;
  const remedy = 'Let libvirt resolve it (--connect URI), or write the path that `virsh vol-path` prints.';
  return unlockableItem(base, reason, remedy, planner);
}

/** The resource of a path that was looked at, with a note if nobody knows how far its file system reaches. */
export function resourceAt(seen: Seen, label: string, planner: Planner): Resource {
  const resource = planner.identities.resourceOf(seen, label);
  if (resource.unknownFileSystem !== undefined) {
    const type = printable(resource.unknownFileSystem);
    planner.note(
      `${label}: unknown file system ${type}: counted as local; refused under a cluster driver until configuration names it`,
    );
  }
  return resource;
}

/** Ancestors of a resource as items: what it is a part of, or stands on. */
export function ancestorItems(of: PlanItem, planner: Planner): PlanItem[] {
  if (of.resource === undefined || of.verdict !== 'lock') return [];
  const { resources, notes, hidden } = planner.identities.ancestorsOf(of.resource);
  planner.note(...notes);
  const unseen =
    hidden === undefined
      ? []
      : [unlockableItem({ role: 'ancestor', label: of.label, of: of.label }, hidden, hiddenRemedy, planner)];
  const seen = resources.map((resource): PlanItem => ({
    role: 'ancestor',
    label: resource.label,
    verdict: 'lock',
    mode: 'part',
    resource,
    of: of.label,
  }));
  return [...seen, ...unseen];
}

const hiddenRemedy =
  'Detach the device and attach it again by the present name of its file, or accept the danger with --allow-unlocked.';

/** Refused, unless the user accepts that it is not locked; then the plan says so. */
export function unlockableItem(base: ItemBase, reason: string, remedy: string, planner: Planner): PlanItem {
  if (!planner.allowUnlocked) return { ...base, verdict: 'refuse', code: 'CANNOT_LOCK', reason, remedy };
  planner.note(`NOT LOCKED: ${base.label}: ${reason}`);
  return { ...base, verdict: 'skip', reason: `not locked, as you allowed: ${reason}` };
}

/**
 * The verdict on one source. Throws `NO_SUCH_FILE` (unless it is optional), `NOT_READABLE`, `NOT_A_DISK`,
 * `RELATIVE_PATH`: with such input nothing can be planned.
 */
export function planSource(
  disk: DiskDescription,
  as: { readonly role: Role; readonly mode: AskedMode; readonly of?: string },
  planner: Planner,
): PlannedSource {
  const { label, source } = disk;
  const base: ItemBase = {
    role: as.role,
    label,
    ...(disk.target === undefined ? {} : { target: disk.target }),
    ...(disk.place === undefined ? {} : { place: disk.place }),
    ...(disk.cache === undefined ? {} : { cache: disk.cache }),
    ...(as.of === undefined ? {} : { of: as.of }),
  };
  const skip = (reason: string): PlannedSource => ({ item: { ...base, verdict: 'skip', reason } });
  if (disk.skip !== undefined) return skip(disk.skip);
  const { hostId } = planner.surroundings;
  switch (source.type) {
    case 'none':
      return skip('an empty drive');
    case 'vhostuser':
      return skip('its storage belongs to the process behind the socket, which has to lock it');
    case 'volume':
      return { item: unresolvedVolume(base, source, disk.note, planner) };
    case 'network': {
      const found = networkIdentity(source, planner.surroundings);
      return {
        item: lockItem(base, { kind: 'disk', label, storage: 'network', ...found }, as.mode, disk.note),
      };
    }
    case 'nvme': {
      const found = nvmeIdentity(source, hostId);
      return { item: lockItem(base, { kind: 'disk', label, storage: 'name', ...found }, as.mode, disk.note) };
    }
    case 'file':
    case 'block':
    case 'dir': {
      const details = { resource: label, ...(disk.place === undefined ? {} : { place: disk.place }) };
      const what = as.of === undefined ? whatIs(disk) : `a base of ${printable(as.of)}`;
      if (!source.path.startsWith('/')) {
        throw new HoldfastError(
          'RELATIVE_PATH',
          `${printable(source.path)} (${what}) is a relative path`,
          details,
        );
      }
      let seen: Seen;
      try {
        seen = lookAtPath(source.path, what, details, planner.identityOnly);
      } catch (error) {
        if (disk.optional && isMissing(error)) return skip('it does not exist, and may be missing');
        const mayBeCharacter = as.role === 'memory' && isHoldfastError(error, 'NOT_A_DISK');
        const device = mayBeCharacter ? characterDevice(source.path) : undefined;
        if (device !== undefined) {
          // There is no inode to lock that other nodes of the device share: its number is its name.
          const found = { identity: `char:${hostId}:${device}`, storage: 'name', scope: 'host' } as const;
          return { item: lockItem(base, { kind: 'disk', label, ...found }, as.mode, disk.note) };
        }
        throw error;
      }
      return { item: lockItem(base, resourceAt(seen, label, planner), as.mode, disk.note), seen };
    }
  }
}
