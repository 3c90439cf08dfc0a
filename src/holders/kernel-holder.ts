/** Says in words what the kernel does with a resource, and how to make it stop. */
import { kernelUsesOfDevice, kernelUsesOfFile } from '../system/kernel-uses.js';
import type { KernelTables, KernelUse } from '../system/kernel-uses.js';
import type { Holder, Resource } from '../vocabulary.js';
import { deviceOfResource, inodeOfResource } from './resource-targets.js';

/** A file system can be bound to hundreds of places; nobody reads them all. */
const usesNamedMax = 8;

/** One holder for each thing that the kernel does with a resource. */
export async function kernelHolders(resource: Resource, tables: KernelTables): Promise<Holder[]> {
  if (resource.storage === 'block') {
    const device = deviceOfResource(resource);
    return device === undefined
      ? []
      : (await kernelUsesOfDevice(device, resource.path, tables)).map(kernelHolder);
  }
  const inode = inodeOfResource(resource);
  return inode === undefined ? [] : kernelUsesOfFile(inode, tables).map(kernelHolder);
}

/** One holder for a use and all that stands on it. */
export function kernelHolder(use: KernelUse): Holder {
  const all = withAbove(use);
  const named = all.slice(0, usesNamedMax);
  const more = all.length - named.length;
  return {
    program: 'the kernel',
    host: 'this host',
    through: [...named.map(words), ...(more > 0 ? [`${more} more uses`] : [])],
    evidence: all.map(({ evidence }) => evidence),
    // What stands on top has to end first.
    remedy: [...new Set(named.toReversed().map(remedy))].join(', then '),
  };
}

function withAbove(use: KernelUse): KernelUse[] {
  return [use, ...use.above.flatMap(withAbove)];
}

function words(use: KernelUse): string {
  const what = {
    mount: `mounted on ${use.where}`,
    swap: `swap space (${use.where})`,
    loop: `loop device ${use.where}`,
    stacked: `part of ${use.dm === undefined ? use.where : `${use.dm.name} (${use.where})`}`,
    claim: 'claimed by the kernel for something that cannot be seen from here',
  }[use.kind];
  const where =
    use.namespacePid === undefined ? '' : ` in the mount namespace of process ${use.namespacePid}`;
  return `${use.on === undefined ? '' : `${use.on} `}${what}${where}`;
}

function remedy(use: KernelUse): string {
  switch (use.kind) {
    case 'mount': {
      const command = `umount ${quoted(use.where)}`;
      return use.namespacePid === undefined ? command : `nsenter -t ${use.namespacePid} -m ${command}`;
    }
    case 'swap':
      return `swapoff ${quoted(use.where)}`;
    case 'loop':
      return `losetup -d ${use.where}`;
    case 'stacked':
      return stackedRemedy(use);
    case 'claim':
      return 'look for a mount in a container, or for a program that opened it exclusively (fuser, lsblk)';
  }
}

function stackedRemedy({ where, dm }: KernelUse): string {
  if (dm === undefined) {
    return where.startsWith('/dev/md') ? `mdadm --stop ${where}` : `stop ${where}`;
  }
  if (dm.uuid.startsWith('LVM-')) return `lvchange -an ${quoted(`/dev/mapper/${dm.name}`)}`;
  if (dm.uuid.startsWith('CRYPT-')) return `cryptsetup close ${quoted(dm.name)}`;
  if (dm.uuid.startsWith('mpath-')) return `use ${quoted(`/dev/mapper/${dm.name}`)} in its place`;
  return `dmsetup remove ${quoted(dm.name)}`;
}

/** For a POSIX shell. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
