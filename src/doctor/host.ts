/** What the checks have in common: where to look, and what was read once for all of them. */
import type { LibvirtConfiguration } from './libvirt-configuration.js';
import { readLibvirtConfigurations } from './libvirt-configuration.js';
import { processesNaming } from '../system/command-lines.js';
import { mountOf, readMounts, type Mount, type MountTable } from '../system/mounts.js';
import { readProcess, type ProcessInfo } from '../system/process.js';
import { runtimeDirectory } from '../system/runtime-directory.js';
import type { Seen as SeenPath } from '../plan/look-at-path.js';
import type { Resource } from '../vocabulary.js';
import type { Finding } from './finding.js';

export interface Roots {
  readonly proc: string;
  readonly sys: string;
  readonly etc: string;
}

export const systemRoots: Roots = { proc: '/proc', sys: '/sys', etc: '/etc' };

/** A disk that the doctor was asked about. */
export interface Disk {
  /** As the user wrote it. */
  readonly label: string;
  readonly seen: SeenPath;
  readonly resource: Resource;
}

/** What one check does; none changes anything, but for a file of its own that it removes. */
export type Check = (host: Host, disks: readonly Disk[]) => readonly Finding[] | Promise<readonly Finding[]>;

/** What stands somewhere in the command lines of these programs. */
const programs: readonly string[] = [
  'qemu',
  'kvm',
  'virtlockd',
  'holdfast',
  'libvirtd',
  'virtqemud',
  'sanlock',
];

/** Reads each thing at most once, when it is first asked for. */
export class Host {
  readonly roots: Roots;
  /** The user that it runs as. */
  readonly uid: number;
  readonly runtimeDirectory: string;
  #mounts: MountTable | undefined;
  #processes: readonly ProcessInfo[] | undefined;
  #libvirt: readonly LibvirtConfiguration[] | undefined;

  constructor(
    roots: Roots = systemRoots,
    uid: number = process.geteuid?.() ?? 0,
    runtime: string = runtimeDirectory(),
  ) {
    this.roots = roots;
    this.uid = uid;
    this.runtimeDirectory = runtime;
  }

  get isRoot(): boolean {
    return this.uid === 0;
  }

  /** Nothing where the table cannot be read. */
  get mounts(): MountTable {
    return (this.#mounts ??= this.#readMounts());
  }

  #readMounts(): MountTable {
    try {
      return readMounts(this.roots.proc);
    } catch {
      return new Map();
    }
  }

  mountOf({ seen }: Disk): Mount | undefined {
    // A node's own file system (devtmpfs) says nothing of the disk.
    return seen.storage === 'block' ? undefined : mountOf(this.mounts, seen.realPath, seen.inode.dev);
  }

  /** The processes of QEMU, libvirt and Holdfast. Of all others, and there may be thousands, no more than the arguments is read. */
  get processes(): readonly ProcessInfo[] {
    const { proc } = this.roots;
    return (this.#processes ??= processesNaming(programs, proc)
      .pids.map((pid) => readProcess(pid, { root: proc }))
      .filter((one) => one !== undefined));
  }

  /** The system's libvirt, and the user's own. */
  get libvirt(): readonly LibvirtConfiguration[] {
    return (this.#libvirt ??= readLibvirtConfigurations(this.roots.etc));
  }
}
