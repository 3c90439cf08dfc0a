/** The facts that identities are decided from, read at most once for each plan and never kept longer. */
import { machineId } from '../system/host.js';
import { isLocalFileSystem } from '../system/local-file-system.js';
import { readMounts, type MountTable } from '../system/mounts.js';
import type { Inode } from '../vocabulary.js';
import type { PlanOptions } from './plan-options.js';

export interface Surroundings {
  readonly hostId: string;
  readonly aliases: ReadonlyMap<string, string>;
  readonly localFileSystems: ReadonlySet<string>;
  readonly mounts: () => MountTable;
  /** Whether the file system of a file is certainly one of this host alone; false: the mount table has to tell. */
  readonly isLocal: (realPath: string, dev: Inode['dev']) => boolean;
  /** Where sysfs is. */
  readonly sys: string;
  /** Where device nodes are. */
  readonly dev: string;
}

export function readSurroundings(options: PlanOptions): Surroundings {
  let mounts: MountTable | undefined;
  const local = new Map<string, boolean>();
  return {
    hostId: options.hostId ?? machineId(),
    aliases: new Map(Object.entries(options.aliases ?? {})),
    localFileSystems: new Set(options.localFileSystems),
    mounts: () => (mounts ??= readMounts()),
    isLocal: (realPath, dev) => {
      const known = local.get(dev) ?? isLocalFileSystem(realPath);
      local.set(dev, known);
      return known;
    },
    sys: '/sys',
    dev: '/dev',
  };
}
