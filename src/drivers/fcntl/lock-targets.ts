/**
 * Which files are locked for a resource.
 *
 * - a file: the image itself; and, if libvirt uses a lockspace directory, its file there, under the hash of
 *   the path as written and of the real path (libvirt hashes what its XML says, which may be either).
 * - a block device: the node itself (virtlockd's byte 0), and a lock file named by identity, because locks
 *   are on inodes and a device may have several nodes; and libvirt's own names for it.
 * - a directory: a lock file named by identity (a directory cannot be write-locked).
 * - a lease with a path: `PATH/LOCKSPACE/KEY`, as virtlockd does, and a lock file by identity, because the same lease
 *   may be named without its path. Everything else: a lock file by identity.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { LockRequest, Resource } from '../../vocabulary.js';
import type { LibvirtSettings } from './libvirt-settings.js';

export type LockTarget =
  | {
      readonly kind: 'image';
      readonly path: string;
      readonly resource: Resource;
      /** May fail to open. */ readonly spare: boolean;
    }
  | {
      readonly kind: 'lock file';
      readonly path: string;
      /** The directory is made, with the file, if it is missing. */
      readonly directory: string;
      /** Ours alone: checked to be private. */
      readonly own: boolean;
      /** Removed with the last holder. */
      readonly temporary: boolean;
      /** It is not known whether libvirt uses it: if this user may not, that is only said. */
      readonly spare: boolean;
    };

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** The files to lock for a request, in the order of locking. `lockspace`: our own directory. */
export function lockTargets(
  { resource, mode }: LockRequest,
  lockspace: string,
  libvirt: readonly LibvirtSettings[],
): readonly LockTarget[] {
  // Only where it is needed: the first hash loads node:crypto, which costs 2 ms of a start.
  const byIdentity = (): LockTarget => ownLockFile(lockspace, resource.identity);
  switch (resource.storage) {
    case 'file':
      return [image(resource, false), ...libvirtLockFiles(resource, libvirt)];
    case 'block':
      // Whoever may open a partition need not be allowed to open its disk; the identity's lock file is enough then.
      return [byIdentity(), image(resource, mode === 'part'), ...libvirtLockFiles(resource, libvirt)];
    case 'directory':
      return [byIdentity(), ...libvirtLockFiles(resource, libvirt)];
    default:
      return resource.lease?.path === undefined ? [byIdentity()] : [byIdentity(), leaseFile(resource.lease)];
  }
}

/**
 * Whether a holder of a resource leaves a record on this target for other hosts: on the image; for what is locked by a
 * lock file, in directories that hosts may share. A device node has no attributes of its users.
 */
export function isShared({ scope, storage }: Resource, target: LockTarget): boolean {
  if (scope === 'host') return false;
  return target.kind === 'image' ? storage === 'file' : storage !== 'file' && !target.own;
}

function image(resource: Resource, spare: boolean): LockTarget {
  return { kind: 'image', path: resource.path ?? '', resource, spare };
}

function ownLockFile(directory: string, identity: string): LockTarget {
  return {
    kind: 'lock file',
    directory,
    path: join(directory, sha256(identity)),
    own: true,
    temporary: true,
    spare: false,
  };
}

function leaseFile(lease: NonNullable<Resource['lease']>): LockTarget {
  const directory = join(lease.path ?? '', lease.lockspace);
  return {
    kind: 'lock file',
    directory,
    path: join(directory, lease.key),
    own: false,
    temporary: false,
    spare: false,
  };
}

function libvirtLockFiles(resource: Resource, libvirt: readonly LibvirtSettings[]): readonly LockTarget[] {
  /** By path: whether it is only thought possible that libvirt uses it. */
  const paths = new Map<string, boolean>();
  let spare = false;
  const add = (directory: string | undefined, name: string | undefined): boolean => {
    if (directory === undefined || name === undefined) return false;
    const path = join(directory, name);
    paths.set(path, spare && (paths.get(path) ?? true));
    return true;
  };
  const names = [resource.path, resource.realPath, ...(resource.otherPaths ?? [])].filter(
    (path) => path !== undefined,
  );
  for (const settings of libvirt) {
    spare = settings.lockd === 'unknown';
    const device = resource.storage === 'block';
    if (device && add(settings.lvmLockspaceDir, resource.lvmUuid)) continue;
    if (device && add(settings.scsiLockspaceDir, resource.scsiId)) continue;
    if (settings.fileLockspaceDir === undefined) continue;
    for (const name of names) add(settings.fileLockspaceDir, sha256(name));
  }
  return [...paths].map(([path, isSpare]) => ({
    kind: 'lock file',
    path,
    directory: join(path, '..'),
    own: false,
    temporary: true,
    spare: isSpare,
  }));
}
