/** From what a guest uses to the resource that is locked for it: the one door to all kinds of identity. */
import type { LeaseDescription, OwnerDescription, Resource } from '../vocabulary.js';
import { BlockIdentities, type BlockIdentity } from './block-identity.js';
import { escaped } from './escaped.js';
import { fileIdentity } from './file-identity.js';
import { glanceAtPath, printable, type Seen } from './look-at-path.js';
import type { Surroundings } from './surroundings.js';

/** What a resource is around or under, and what could not be seen of that. */
export interface Ancestry {
  readonly resources: readonly Resource[];
  readonly notes: readonly string[];
  /** Why something that it stands on cannot be locked. */
  readonly hidden?: string;
}

function blockFields({ identity, scope, lvmUuid, scsiId }: BlockIdentity): Partial<Resource> & {
  identity: string;
  scope: Resource['scope'];
} {
  return {
    identity,
    scope,
    ...(lvmUuid === undefined ? {} : { lvmUuid }),
    ...(scsiId === undefined ? {} : { scsiId }),
  };
}

/** Decides identities for one plan; what it has read of the system is not kept for the next. */
export class Identities {
  private readonly surroundings: Surroundings;
  private readonly blocks: BlockIdentities;

  constructor(surroundings: Surroundings) {
    this.surroundings = surroundings;
    this.blocks = new BlockIdentities(surroundings);
  }

  /** The resource at a path that was looked at. */
  resourceOf(seen: Seen, label: string): Resource {
    const { path, realPath, inode, storage, device } = seen;
    const found =
      device === undefined ? fileIdentity(seen, this.surroundings) : blockFields(this.blocks.of(device));
    return {
      kind: 'disk',
      label,
      storage,
      path,
      realPath,
      inode,
      ...(device === undefined ? {} : { device }),
      ...found,
    };
  }

  /** What a block device is a part of or stands on, each once, nearest first. Nothing for files and directories. */
  ancestorsOf(resource: Resource): Ancestry {
    const { device } = resource;
    if (device === undefined) return { resources: [], notes: [] };
    const found = new Map<string, Resource>();
    const notes: string[] = [];
    let hidden: string | undefined;
    const visited = new Set<string>();
    const queue = [device];
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      if (visited.has(next)) continue;
      visited.add(next);
      const block = this.blocks.of(next);
      if (block.note !== undefined) notes.push(`${resource.label}: ${block.note}`);
      hidden ??= block.hidden;
      for (const parent of block.parents) {
        const above =
          'file' in parent
            ? this.resourceOf(parent.file, printable(parent.file.path))
            : this.deviceResource(parent.device);
        // Paths to one multipath disk have its own identity: nothing is an ancestor of itself.
        if (above.identity !== resource.identity && !found.has(above.identity)) {
          found.set(above.identity, above);
        }
        if ('device' in parent) queue.push(parent.device);
      }
    }
    return { resources: [...found.values()], notes, ...(hidden === undefined ? {} : { hidden }) };
  }

  /** A device that is known by its number alone; its node in /dev is named where there is one. */
  private deviceResource(device: string): Resource {
    const block = this.blocks.of(device);
    const path = `${this.surroundings.dev}/${block.name ?? ''}`;
    const node = block.name === undefined ? undefined : glanceAtPath(path);
    const isNode = node?.device === device;
    return {
      kind: 'disk',
      label: isNode ? path : `block device ${device}`,
      storage: 'block',
      device,
      ...(isNode ? { path, realPath: node.realPath, inode: node.inode } : {}),
      ...blockFields(block),
    };
  }

  /**
   * A `<lease>`: its lockspace and key. Where they are kept is the driver's business, and the same on every host.
   * `realPath`: where its path leads to.
   */
  leaseResource(lease: LeaseDescription, realPath: string | undefined): Resource {
    const { label, lockspace, key, path, offset } = lease;
    return {
      kind: 'lease',
      identity: `lease:${escaped(lockspace)}:${escaped(key)}`,
      label,
      storage: 'name',
      scope: 'cluster',
      ...(realPath === undefined ? {} : { realPath }),
      lease: { lockspace, key, offset, ...(path === undefined ? {} : { path }) },
    };
  }

  /** The guest itself: it must not run twice, wherever. */
  domainResource(owner: OwnerDescription): Resource {
    return {
      kind: 'domain',
      identity: `domain:${owner.uuid}`,
      label: owner.name,
      storage: 'name',
      scope: 'cluster',
    };
  }
}
