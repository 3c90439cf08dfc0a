/**
 * By which names virtlockd is asked for a resource: what its own clients would ask for, so that they are kept out.
 *
 * - a file: the path itself (lockspace ''), and, if libvirt uses a lockspace directory, the hash of the path there.
 * - a block device: a name made of its identity, because one device may have several nodes; the node itself;
 *   and libvirt's own names for it.
 * - a directory: a name made of its identity (virtlockd opens for writing what it locks).
 * - a lease with a path: KEY in `PATH/LOCKSPACE`, and a name made of its identity, because the same lease may be
 *   named without its path. Everything else: a name made of its identity.
 *
 * virtlockd tells the paths of its direct locks by their text. A file is asked for by all paths that are known of it,
 * and the real one goes first: whoever is refused there has not opened, and so not closed, the file by another path,
 * which would take the kernel's lock from the holder.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Resource } from '../../vocabulary.js';
import type { VirtlockdSettings } from './virtlockd-settings.js';

export interface LockName {
  /** A directory; '': the name is a path, and what it leads to is locked itself. */
  readonly lockspace: string;
  readonly name: string;
  /** `temporary`: virtlockd makes it, and removes it with the last holder. `lasting`: made if it is missing, and stays. */
  readonly kind: 'image' | 'temporary' | 'lasting';
  /** What the kernel's lock is on. */
  readonly file: string;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** In the order of asking. */
export function lockNames(resource: Resource, settings: VirtlockdSettings): readonly LockName[] {
  const byIdentity = (): LockName => inLockspace(settings.lockspaceDir, sha256(resource.identity));
  switch (resource.storage) {
    case 'file':
      return [...images(resource), ...libvirtNames(resource, settings)];
    case 'block':
      return [byIdentity(), ...images(resource), ...libvirtNames(resource, settings)];
    case 'directory':
      return [byIdentity(), ...libvirtNames(resource, settings)];
    default: {
      const { lease } = resource;
      if (lease?.path === undefined) return [byIdentity()];
      return [byIdentity(), inLockspace(join(lease.path, lease.lockspace), lease.key, 'lasting')];
    }
  }
}

function inLockspace(lockspace: string, name: string, kind: LockName['kind'] = 'temporary'): LockName {
  return { lockspace, name, kind, file: join(lockspace, name) };
}

function pathsOf({ path, realPath, otherPaths = [] }: Resource): readonly string[] {
  return [...new Set([realPath, path, ...otherPaths].filter((each) => each !== undefined))];
}

function images(resource: Resource): readonly LockName[] {
  return pathsOf(resource).map((path) => ({ lockspace: '', name: path, kind: 'image', file: path }));
}

/** As libvirt's lockd plugin names a disk. */
function libvirtNames(resource: Resource, settings: VirtlockdSettings): readonly LockName[] {
  const { fileLockspaceDir, lvmLockspaceDir, scsiLockspaceDir } = settings;
  if (resource.storage === 'block') {
    if (lvmLockspaceDir !== undefined && resource.lvmUuid !== undefined)
      return [inLockspace(lvmLockspaceDir, resource.lvmUuid)];
    if (scsiLockspaceDir !== undefined && resource.scsiId !== undefined)
      return [inLockspace(scsiLockspaceDir, resource.scsiId)];
  }
  if (fileLockspaceDir === undefined) return [];
  return pathsOf(resource).map((path) => inLockspace(fileLockspaceDir, sha256(path)));
}
