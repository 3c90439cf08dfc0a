/** Says in words what the kernel does with a resource, and how to make it stop. */
import { kernelUsesOfDevice, kernelUsesOfFile } from '../system/kernel-uses.js';
import type { KernelTables, KernelUse } from '../system/kernel-uses.js';
import type { Holder, Resource } from '../vocabulary.js';
import { isUnlocked } from './unlocked-writer.js';
import { processUses } from './process-use.js';
import type { ResourceFile } from './process-use.js';
import { refusedWithoutLock } from './refused-modes.js';
import { deviceOfResource, inodeOfResource } from './resource-targets.js';
import { shellWord } from './shell-word.js';

/** A file system can be bound to hundreds of places; nobody reads them all. */
const usesNamedMax = 8;

/**
 * One holder for each thing that the kernel does with a resource.
 * @param files who has the resource open: a program can claim a block device too (open(2), O_EXCL), and nothing shows
 *   that it did
 */
export async function kernelHolders(
  resource: Resource,
  tables: KernelTables,
  files: readonly ResourceFile[],
): Promise<Holder[]> {
  if (resource.storage === 'block') {
    const device = deviceOfResource(resource);
    if (device === undefined) return [];
    const uses = await kernelUsesOfDevice(device, resource.path, tables);
    return uses.flatMap((use) =>
      use.kind === 'claim' ? claimHolders(use, files, resource, tables) : kernelHolder(use),
    );
  }
  const inode = inodeOfResource(resource);
  return inode === undefined ? [] : kernelUsesOfFile(inode, tables).map(kernelHolder);
}

/**
 * A writer without a lock refuses as much himself, and explains the claim. Whoever only reads, or has a lock, may have
 * claimed the device or not: then both are said.
 */
function claimHolders(
  use: KernelUse,
  files: readonly ResourceFile[],
  resource: Resource,
  tables: KernelTables,
): Holder[] {
  const open = processUses(
    files.filter(({ target }) => target.kind === 'device'),
    [],
    true,
  );
  if (open.some((one) => one.writes && isUnlocked(one, open, resource, tables) === true)) return [];
  const holder = kernelHolder(use);
  if (open.length === 0) return [holder];
  const { program: _, ...unnamed } = holder;
  const pids = open
    .slice(0, usesNamedMax)
    .map(({ pid }) => pid)
    .join(', ');
  return [
    {
      ...unnamed,
      through: [`claimed: by process ${pids}, or by the kernel for something that cannot be seen from here`],
      remedy: `stop process ${pids}, or wait for it; then ${holder.remedy ?? 'look again'}`,
    },
  ];
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
    // What goes through a read-only loop device is a reader like any other that has no lock.
    refuses: use.readOnly === true ? [] : refusedWithoutLock,
    remedy: remedyOf(all, named),
  };
}

function remedyOf(all: readonly KernelUse[], named: readonly KernelUse[]): string {
  const own = all.find(isOfThisHost);
  if (own !== undefined) return `leave it alone: this host itself runs from it (${own.where})`;
  // What stands on top has to end first.
  return [...new Set(named.toReversed().map(remedy))].join(', then ');
}

/** Where a host has itself (hier(7)), and below it whatever it likes; a container has some files there too. */
const systemFolders = ['/boot', '/efi', '/etc', '/usr', '/nix', '/dev', '/proc', '/sys', '/run/host'];
/** Below these stand disks of guests as well. */
const systemPoints = [
  '/',
  '/var',
  '/var/log',
  '/var/tmp',
  '/var/lib',
  '/home',
  '/root',
  '/opt',
  '/tmp',
  '/run',
];

function isOfThisHost({ kind, where, namespacePid }: KernelUse): boolean {
  if (kind !== 'mount' || namespacePid !== undefined) return false;
  return (
    systemPoints.includes(where) ||
    systemFolders.some((folder) => where === folder || where.startsWith(`${folder}/`))
  );
}

function withAbove(use: KernelUse): KernelUse[] {
  return [use, ...use.above.flatMap(withAbove)];
}

function words(use: KernelUse): string {
  const what = {
    mount: `mounted on ${use.where}`,
    swap: `swap space (${use.where})`,
    loop: `loop device ${use.where}${use.readOnly === true ? ' (read-only)' : ''}`,
    stacked: stackedWords(use),
    claim: 'claimed by the kernel for something that cannot be seen from here',
  }[use.kind];
  const where =
    use.namespacePid === undefined ? '' : ` in the mount namespace of process ${use.namespacePid}`;
  return `${use.on === undefined ? '' : `${use.on} `}${what}${where}`;
}

function stackedWords({ where, dm }: KernelUse): string {
  if (dm === undefined) return `part of ${where}`;
  if (dm.uuid.startsWith('LVM-')) return `physical volume of the LVM volume ${lvmName(dm.name)} (${where})`;
  if (dm.uuid.startsWith('CRYPT-')) return `encrypted storage of ${dm.name} (${where})`;
  if (dm.uuid.startsWith('mpath-')) return `a path of the multipath disk ${dm.name} (${where})`;
  return `part of ${dm.name} (${where})`;
}

/** `vg-lv`, with every dash in one of the names written twice: lvm(8), "Valid names". */
function lvmName(name: string): string {
  return name.replace(/(?<!-)((?:--)*)-(?!-)/, '$1/').replaceAll('--', '-');
}

function remedy(use: KernelUse): string {
  switch (use.kind) {
    case 'mount': {
      const command = `umount ${shellWord(use.where)}`;
      if (use.namespacePid === undefined) return command;
      if (use.where === '/') return `end what runs in the mount namespace of process ${use.namespacePid}`;
      return `nsenter -t ${use.namespacePid} -m ${command}`;
    }
    case 'swap':
      return `swapoff ${shellWord(use.where)}`;
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
  if (dm.uuid.startsWith('LVM-')) return `lvchange -an ${shellWord(`/dev/mapper/${dm.name}`)}`;
  if (dm.uuid.startsWith('CRYPT-')) return `cryptsetup close ${shellWord(dm.name)}`;
  if (dm.uuid.startsWith('mpath-')) return `use ${shellWord(`/dev/mapper/${dm.name}`)} in its place`;
  return `dmsetup remove ${shellWord(dm.name)}`;
}
