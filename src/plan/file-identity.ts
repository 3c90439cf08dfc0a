/** The identity of a file or a directory: what it is on, and its inode. */
import type { Resource } from '../vocabulary.js';
import { fileSystemUuid } from '../system/block-devices.js';
import { mountOf } from '../system/mounts.js';
import { fileSystemOf } from './file-systems.js';
import type { Seen } from './look-at-path.js';
import type { Surroundings } from './surroundings.js';

export type FileIdentity = Pick<Resource, 'identity' | 'scope' | 'unknownFileSystem'>;

/**
 * On a local file system `file:HOSTID:MAJOR:MINOR:INODE`; on one that others mount as well
 * `fs:TYPE:SOURCE:INODE`, where the source is what the mount table says, written one way.
 */
export function fileIdentity(
  seen: Pick<Seen, 'realPath' | 'inode'>,
  surroundings: Surroundings,
): FileIdentity {
  const { hostId, aliases, localFileSystems, dev } = surroundings;
  const { inode, realPath } = seen;
  const local: FileIdentity = { identity: `file:${hostId}:${inode.dev}:${inode.ino}`, scope: 'host' };
  if (surroundings.isLocal(realPath, inode.dev)) return local;
  const system = fileSystemOf(mountOf(surroundings.mounts(), realPath, inode.dev), aliases, localFileSystems);
  switch (system.kind) {
    case 'local':
      return local;
    case 'unknown':
      return { ...local, unknownFileSystem: system.type };
    case 'network':
      return { identity: `fs:${system.name}:${system.source}:${inode.ino}`, scope: 'cluster' };
    case 'cluster block': {
      // The device's path can differ from host to host; the uuid that mkfs wrote cannot.
      const source = fileSystemUuid(system.dev, dev) ?? system.source;
      return { identity: `fs:${system.name}:${source}:${inode.ino}`, scope: 'cluster' };
    }
  }
}
