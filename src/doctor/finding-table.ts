/** Every kind of finding. docs/doctor.md is compared with it, both ways. */
import type { FindingEntry, FindingLevel } from './finding-entry.js';
import { cluster } from './findings/cluster.js';
import { disks } from './findings/disks.js';
import { holdfastd } from './findings/holdfastd.js';
import { host } from './findings/host.js';
import { libvirt } from './findings/libvirt.js';
import { sanlock } from './findings/sanlock.js';
import { software } from './findings/software.js';
import { fileSystems, locks } from './findings/storage.js';

export type { FindingLevel } from './finding-entry.js';

/** In the order in which they are shown. */
export const findingLevels: readonly FindingLevel[] = ['problem', 'warning', 'note', 'fine'];

const all = {
  ...software,
  ...locks,
  ...fileSystems,
  ...disks,
  ...libvirt,
  ...holdfastd,
  ...sanlock,
  ...cluster,
  ...host,
};

export type FindingId = keyof typeof all;

export const findings: Readonly<Record<FindingId, FindingEntry>> = all;
