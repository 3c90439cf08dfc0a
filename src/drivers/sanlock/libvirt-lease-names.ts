/**
 * By which leases libvirt keeps others from what a guest uses, so that a Holdfast command and such a guest exclude each other.
 * Seen of libvirt 9.0 (test/libvirt/sanlock-names.test.ts):
 *
 * - a `<lease>`: as it is written, whether it is in use by a disk or not.
 * - a disk, where libvirt makes disk leases: the MD5 of its path, as the XML has it and not resolved, in a lockspace for all disks.
 *   So two names of a file are two leases. Here a file is locked by all names that are known of it.
 * - what is only read (and every cdrom), network disks, images below an overlay: none.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Resource } from '../../vocabulary.js';
import type { LibvirtSanlockSettings } from './libvirt-sanlock-settings.js';

export interface LeaseName {
  readonly lockspace: string;
  readonly name: string;
  /** The file or device that it is kept in. */
  readonly path: string;
  /** Bytes from its beginning. */
  readonly offset: number;
  /** One of libvirt's for a disk: it is made where it is missing. Any other is made by whoever runs the cluster. */
  readonly automatic: boolean;
}

/** In the order of taking; the first one is libvirt's own for the path as written. Never an empty list. */
export type LeaseNames =
  { readonly leases: readonly LeaseName[] } | { readonly reason: string; readonly remedy?: string };

/** libvirt's lockspace for the disks of all guests; its own lease area is the file of this name beside those of the disks. */
export const diskLockspace = '__LIBVIRT__DISKS__';

/** Of a name of a lockspace and of a resource, in bytes (`SANLK_NAME_LEN`). */
export const leaseNameBytesMax = 48;
/** Of a path, in bytes with the final 0 (`SANLK_PATH_LEN`). */
export const leasePathBytesMax = 1024;

/** Which leases stand for a resource, or why none does. */
export function leasesOf(
  resource: Resource,
  settings: Pick<LibvirtSanlockSettings, 'autoDiskLeases' | 'diskLeaseDir'>,
): LeaseNames {
  if (resource.kind === 'lease') return givenLease(resource);
  if (resource.kind === 'domain') {
    return {
      reason:
        'sanlock has no lease for a guest as such, so it could run twice if no disk or lease of it is locked',
      remedy:
        'Keep it from running twice on this host with --driver sanlock,fcntl, and between hosts with a <lease> of its own.',
    };
  }
  if (!['file', 'block', 'directory'].includes(resource.storage)) {
    return { reason: 'sanlock has no lease for what has no path' };
  }
  const { autoDiskLeases, diskLeaseDir } = settings;
  if (autoDiskLeases === undefined || diskLeaseDir === undefined) {
    return {
      reason: "libvirt's settings for sanlock cannot be read, so the lease of this disk is unknown",
      remedy:
        'Run as a user who may read qemu-sanlock.conf, or set auto_disk_leases and disk_lease_dir in [driver.sanlock].',
    };
  }
  if (!autoDiskLeases) {
    return {
      reason: 'disks have no leases of their own here (auto_disk_leases is off)',
      remedy: 'Name a lease beside the disk: --lease, or <lease> in the XML.',
    };
  }
  const leases = [...new Set(namesOf(resource))].map((path) => diskLease(path, diskLeaseDir));
  const fault = leases.map(faultOf).find((one) => one !== undefined);
  return fault === undefined && leases.length > 0
    ? { leases }
    : { reason: fault ?? 'sanlock has no lease for what has no path' };
}

/** libvirt's lease of a disk that its XML calls so. */
export function diskLease(path: string, diskLeaseDir: string): LeaseName {
  const name = createHash('md5').update(path).digest('hex');
  return { lockspace: diskLockspace, name, path: join(diskLeaseDir, name), offset: 0, automatic: true };
}

/** The lease area of the lockspace of all disks. */
export function diskLockspacePath(diskLeaseDir: string): string {
  return join(diskLeaseDir, diskLockspace);
}

/**
 * The node of a device is called otherwise on the next host, where its name belongs to some other disk: what nobody wrote would
 * keep that one from being used.
 */
function namesOf({ storage, path, realPath, otherPaths = [] }: Resource): readonly string[] {
  const real = storage === 'block' ? undefined : realPath;
  return [path, ...otherPaths, real].filter((one) => one !== undefined);
}

function givenLease({ lease, label }: Resource): LeaseNames {
  if (lease?.path === undefined) {
    return {
      reason: `sanlock needs to know where the lease ${label} is kept`,
      remedy: 'Give its file or device: LOCKSPACE:KEY:PATH[:OFFSET], or <target path=.../> in the XML.',
    };
  }
  const { lockspace, key, path, offset } = lease;
  const name = { lockspace, name: key, path, offset, automatic: false };
  const reason = faultOf(name);
  return reason === undefined ? { leases: [name] } : { reason };
}

function faultOf({ lockspace, name, path }: LeaseName): string | undefined {
  const tooLong = (text: string): boolean => Buffer.byteLength(text) > leaseNameBytesMax;
  if (tooLong(lockspace)) return `the lockspace ${lockspace} has more than ${leaseNameBytesMax} bytes`;
  if (tooLong(name)) return `the lease ${name} has more than ${leaseNameBytesMax} bytes in its name`;
  if (Buffer.byteLength(path) < leasePathBytesMax) return undefined;
  return `the path of the lease ${lockspace}:${name} has ${leasePathBytesMax} bytes or more`;
}
