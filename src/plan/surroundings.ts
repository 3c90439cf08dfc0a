/** The facts that identities are decided from, read once for each plan and never kept longer. */
import { machineId } from '../system/host.js';
import { readMounts, type MountTable } from '../system/mounts.js';
import type { PlanOptions } from './plan-options.js';

export interface Surroundings {
  readonly hostId: string;
  readonly aliases: ReadonlyMap<string, string>;
  readonly localFileSystems: ReadonlySet<string>;
  readonly mounts: MountTable;
  /** Where sysfs is. */
  readonly sys: string;
  /** Where device nodes are. */
  readonly dev: string;
}

export function readSurroundings(options: PlanOptions): Surroundings {
  return {
    hostId: options.hostId ?? machineId(),
    aliases: new Map(Object.entries(options.aliases ?? {})),
    localFileSystems: new Set(options.localFileSystems),
    mounts: readMounts(),
    sys: '/sys',
    dev: '/dev',
  };
}
