/** The identity of a block device, and what it is a part of or made of. */
import type { Surroundings } from './surroundings.js';
import { readBlockDevice, type BlockDevice } from '../system/block-devices.js';
import { behindLoop } from '../system/loop-status.js';
import { sameInode } from '../system/inode.js';
import { fileIdentity } from './file-identity.js';
import { cephCluster, rbdIdentity } from './network-identity.js';
import { glanceAtPath, printable, type Seen } from './look-at-path.js';

/** Devices stacked deeper than this are not followed: a partition on LVM on RAID on multipath is 5. */
const stackMax = 32;

export interface BlockIdentity {
  readonly identity: string;
  readonly scope: 'host' | 'cluster';
  /** The kernel's name of it (`sda1`), where sysfs shows it. */
  readonly name?: string;
  readonly lvmUuid?: string;
  readonly scsiId?: string;
  /** What the device is a part of, is made of, or shows: devices, and the file of a loop device. */
  readonly parents: readonly ({ readonly device: string } | { readonly file: Seen })[];
  /** What could not be seen. */
  readonly note?: string;
  /** Why what it stands on cannot be locked, so that another way to the same storage would not be kept out. */
  readonly hidden?: string;
}

/** 32 letters as LVM writes them: 6-4-4-4-4-4-6. */
function lvmUuidText(letters: string): string {
  return letters.replace(/^(.{6})(.{4})(.{4})(.{4})(.{4})(.{4})(.{6})$/, '$1-$2-$3-$4-$5-$6-$7');
}

/** As udev's scsi_id writes it: the digit of the id's type (SPC-4, designator types) before the id. */
function scsiIdText(wwid: string): string | undefined {
  const match = /^(naa|eui|t10)\.(.+)$/.exec(wwid);
  const digit = { naa: '3', eui: '2', t10: '1' }[match?.[1] ?? ''];
  return digit === undefined ? undefined : `${digit}${match?.[2] ?? ''}`;
}

type Named = Omit<BlockIdentity, 'name' | 'parents' | 'note' | 'hidden'>;

function nameOfMapping(uuid: string, hostId: string): Named {
  // lib/uuid of LVM2: "LVM-", the uuid of the volume group, that of the volume, for internal layers a suffix.
  const lvm = /^LVM-[A-Za-z0-9]{32}([A-Za-z0-9]{32})(-.*)?$/.exec(uuid);
  if (lvm !== null) {
    const lvmUuid = lvmUuidText(lvm[1] ?? '');
    const suffix = lvm[2] ?? '';
    const identity = `lvm:${lvmUuid}${suffix}`;
    return { identity, scope: 'cluster', ...(suffix === '' ? { lvmUuid } : {}) };
  }
  // cryptsetup: the uuid of the LUKS header, then the name of the mapping, which each host chooses.
  const luks = /^(CRYPT-LUKS\d-[0-9a-f]{32})(-.*)?$/.exec(uuid);
  if (luks !== null) return { identity: `dm:${luks[1] ?? ''}`, scope: 'cluster' };
  if (uuid.startsWith('mpath-')) return { identity: `dm:${uuid}`, scope: 'cluster' };
  // All others are made from names that another host can use as well.
  return { identity: `dm:${hostId}:${uuid}`, scope: 'host' };
}

/** Reads devices once in each plan, and follows them to what they stand on. */
export class BlockIdentities {
  private readonly known = new Map<string, BlockIdentity>();

  private readonly surroundings: Surroundings;

  constructor(surroundings: Surroundings) {
    this.surroundings = surroundings;
  }

  /** The identity of a device, `major:minor`. */
  of(device: string, depth = 0): BlockIdentity {
    const before = this.known.get(device);
    if (before !== undefined) return before;
    const found = this.read(device, depth);
    this.known.set(device, found);
    return found;
  }

  private read(device: string, depth: number): BlockIdentity {
    const { hostId, sys } = this.surroundings;
    const plain: Named = { identity: `block:${hostId}:${device}`, scope: 'host' };
    const facts = depth > stackMax ? undefined : readBlockDevice(device, sys);
    if (facts === undefined) {
      return { ...plain, parents: [], note: 'sysfs does not show what the device is a part of or stands on' };
    }
    if (facts.loop !== undefined) {
      return { ...this.loop(facts.name, device, facts.loop, plain, depth), name: facts.name };
    }
    return { ...(this.identify(facts, depth) ?? plain), name: facts.name, parents: this.parents(facts) };
  }

  private parents(facts: BlockDevice): { device: string }[] {
    const devices = facts.partition === undefined ? facts.slaves : [facts.partition.disk, ...facts.slaves];
    return devices.map((device) => ({ device }));
  }

  private identify(facts: BlockDevice, depth: number): Named | undefined {
    const { partition, dmUuid, wwid, rbd, slaves } = facts;
    if (partition !== undefined) return this.partition(partition.disk, partition.number, depth);
    if (dmUuid !== undefined) {
      // kpartx makes partitions of its own: of a multipath disk they are the same as the kernel's.
      const part = /^part(\d+)-/.exec(dmUuid);
      const [slave] = slaves;
      if (part !== null && slave !== undefined) return this.partition(slave, Number(part[1]), depth);
      // A multipath device and each path to it are one disk.
      if (dmUuid.startsWith('mpath-') && slave !== undefined) {
        const path = this.of(slave, depth + 1);
        if (path.scope === 'cluster') return withoutParents(path);
      }
      return nameOfMapping(dmUuid, this.surroundings.hostId);
    }
    if (wwid !== undefined) {
      const scsiId = wwid.bus === 'scsi' ? scsiIdText(wwid.id) : undefined;
      return { identity: `wwid:${wwid.id}`, scope: 'cluster', ...(scsiId === undefined ? {} : { scsiId }) };
    }
    if (rbd !== undefined) {
      const path = [rbd.pool, rbd.namespace, rbd.image].filter(Boolean).join('/');
      const snapshot = rbd.snapshot === '' ? '' : `@${rbd.snapshot}`;
      const cluster = cephCluster([rbd.cluster.toLowerCase()], this.surroundings.aliases);
      return rbdIdentity(cluster, `${path}${snapshot}`);
    }
    return undefined;
  }

  /** By number and not by extent: a partition that is grown is still the same one. */
  private partition(disk: string, number: number, depth: number): Named {
    const { identity, scope } = this.of(disk, depth + 1);
    return { identity: `${identity}:part:${number}`, scope };
  }

  /** Two loop devices on one file are one disk, if they begin at the same byte. */
  private loop(
    name: string,
    device: string,
    loop: NonNullable<BlockDevice['loop']>,
    plain: Named,
    depth: number,
  ): BlockIdentity {
    const file = loop.deleted ? undefined : glanceAtPath(loop.file);
    // The kernel knows the inode; its name may be gone, or lead to another file here, and a lock on that would be none.
    const { inode } = behindLoop(name, device, loop, this.surroundings.sys);
    if (file === undefined || (inode !== undefined && !sameInode(inode, file.inode))) {
      const hidden = `the file behind it, ${printable(loop.file)}, has no name here any more, or another file has that name`;
      return { ...plain, parents: [], hidden };
    }
    const parents = file.device === undefined ? [{ file }] : [{ device: file.device }];
    const below =
      file.device === undefined ? fileIdentity(file, this.surroundings) : this.of(file.device, depth + 1);
    return { identity: `loop:${below.identity}:${loop.offset}`, scope: below.scope, parents };
  }
}

function withoutParents({
  name: _name,
  parents: _parents,
  note: _note,
  hidden: _hidden,
  ...named
}: BlockIdentity): Named {
  return named;
}
