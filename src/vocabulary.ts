/**
 * The words of the project, as types. Every folder uses these and no others.
 *
 * - owner: who holds or asks. The same uuid, pid and start time is the same owner.
 * - resource: what is locked. Its identity is one string that is the same for every path, alias and host
 *   by which the same storage is reached.
 * - plan: a verdict for each thing the guest uses. hold: a plan that was granted, until it ends.
 * - holder: someone found to hold or use a resource, with the evidence.
 * - fencing token: a number that grows with every grant of a resource.
 * - loss: the moment after which a hold can no longer be guaranteed.
 */

/**
 * How a resource is locked.
 * - `exclusive`: one writer.
 * - `shared`: writers that cooperate (`<shareable/>`).
 * - `read`: readers, no writer.
 * - `part`: something inside it is in use; the plan adds it for ancestors, nobody asks for it.
 */
export type Mode = 'exclusive' | 'shared' | 'read' | 'part';

export const modes: readonly Mode[] = ['exclusive', 'shared', 'read', 'part'];

/** What a user can ask for; `peek` takes no lock and warns if someone writes. */
export type AskedMode = 'exclusive' | 'shared' | 'read' | 'peek';

/** Whether two modes can be held on one resource by two owners at once (symmetric). */
export function compatible(asked: Mode, held: Mode): boolean {
  return asked === held && asked !== 'exclusive';
}

/** Who asks, before it is known which process that will be. */
export interface OwnerDescription {
  /** `domain`: a guest as libvirt describes it; `command`: anything else. */
  readonly kind: 'domain' | 'command';
  /** The guest's name, or the command's. */
  readonly name: string;
  /** 36 lower-case characters with dashes. Made up at random where nobody gave one. */
  readonly uuid: string;
  /** libvirt's number of a running domain. */
  readonly id?: number;
}

/** The name of a command that nobody named. */
export const unnamedCommand = 'command';

/** Who holds or asks. */
export interface Owner extends OwnerDescription {
  readonly pid: number;
  /** Clock ticks after boot, field 22 of /proc/PID/stat: with the pid it names a process for good. */
  readonly startTime: number;
  /** The host's name, for people. */
  readonly host: string;
  /** The host's machine-id, for programs. */
  readonly hostId: string;
}

/** An inode as this host sees it. */
export interface Inode {
  /** `major:minor` in decimal, as in /proc/self/mountinfo. */
  readonly dev: string;
  /** Decimal; 64 bits, so not a number. */
  readonly ino: string;
}

/** What is locked. */
export interface Resource {
  readonly kind: 'disk' | 'lease' | 'domain';
  /** The same string for every path, alias and host by which the same storage is reached. */
  readonly identity: string;
  /** As the user wrote it. */
  readonly label: string;
  /** `name`: there is nothing to open, only the identity. */
  readonly storage: 'file' | 'block' | 'directory' | 'network' | 'name';
  /** Which hosts share the identity: only this one, or all that reach the same storage. */
  readonly scope: 'host' | 'cluster';
  /** Absolute, as written: what is opened. Missing for `network` and `name`. */
  readonly path?: string;
  /** Absolute, no symlink left. */
  readonly realPath?: string;
  /** Absolute: other paths that the same guest names it by. */
  readonly otherPaths?: readonly string[];
  /** The inode the plan saw at `path`: what is locked must be this one. */
  readonly inode?: Inode;
  /** Of a block device: the device it is, `major:minor`. */
  readonly device?: string;
  /** Of an LVM volume: its LV uuid as LVM writes it, with dashes. */
  readonly lvmUuid?: string;
  /** Of a SCSI disk: its id as udev's scsi_id writes it. */
  readonly scsiId?: string;
  /** The type of a file system that no table knows: counted as local, and refused under a cluster driver. */
  readonly unknownFileSystem?: string;
  /** Of a `<lease>`. */
  readonly lease?: {
    readonly lockspace: string;
    readonly key: string;
    readonly path?: string;
    readonly offset: number;
  };
}

export interface LockRequest {
  readonly resource: Resource;
  readonly mode: Mode;
}

/** A place in an input: what a message points at. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export type LossAction = 'poweroff' | 'restart' | 'pause' | 'ignore';

/** What a plan item is to the guest. */
export type Role =
  | 'disk'
  | 'mirror'
  | 'base'
  | 'ancestor'
  | 'lease'
  | 'domain'
  | 'nvram'
  | 'loader'
  | 'pstore'
  | 'memory'
  | 'filesystem'
  | 'tpm';

/** Where a disk's data is, as written; nothing looked up yet. */
export type Source =
  | { readonly type: 'file' | 'block' | 'dir'; readonly path: string }
  | {
      readonly type: 'network';
      readonly protocol: string;
      readonly name: string;
      /** `name:port`, `name`, or a unix socket's path; in the order written. */
      readonly hosts: readonly string[];
    }
  | { readonly type: 'volume'; readonly pool: string; readonly volume: string }
  /** PCI address, such as `0000:01:00.0`, and namespace. */
  | { readonly type: 'nvme'; readonly address: string; readonly namespace: number }
  | { readonly type: 'vhostuser'; readonly path: string }
  /** An empty drive. */
  | { readonly type: 'none' };

/** Something a guest uses, as the input describes it. */
export interface DiskDescription {
  readonly role: Role;
  /** As the user wrote it: the path, `pool/volume`, `rbd:pool/image`. */
  readonly label: string;
  /** The name inside the guest (`vda`), where there is one. */
  readonly target?: string;
  readonly place?: Place;
  readonly source: Source;
  /** Only what the XML or the user says (`raw`, `qcow2`): a format is never guessed. */
  readonly format?: string;
  readonly mode: AskedMode;
  /** May be missing: then it is skipped, and the plan says so. */
  readonly optional: boolean;
  /** Why the input wants it left alone (`an empty drive`): the plan skips it and says so. */
  readonly skip?: string;
  /** What the XML says is below it; undefined: it says nothing, `[]`: nothing is below. From top to base. */
  readonly backing?: readonly DiskDescription[];
  /** The file with the data of this image, where the XML names it (`<dataStore>`): locked as the image is. */
  readonly dataStore?: DiskDescription;
  /** How the host caches it, as libvirt calls it (`none`, `writeback`), where the XML says so. */
  readonly cache?: string;
  /** Something worth saying in the plan (`transient: libvirt writes to an overlay of its own`). */
  readonly note?: string;
}

export interface LeaseDescription {
  readonly label: string;
  readonly place?: Place;
  readonly lockspace: string;
  readonly key: string;
  /** Absolute. */
  readonly path?: string;
  /** Bytes. */
  readonly offset: number;
}

/** A guest, or a plain command, as the input describes it. */
export interface GuestDescription {
  readonly owner: OwnerDescription;
  /** Other domains whose disks are among `disks`: they must not run meanwhile either. */
  readonly otherDomains?: readonly OwnerDescription[];
  readonly disks: readonly DiskDescription[];
  readonly leases: readonly LeaseDescription[];
  /** Planned elsewhere, and locked as they are; the owner's own lock is among them where it is wanted. */
  readonly requests?: readonly LockRequest[];
  readonly onLockFailure?: LossAction;
}

/** The verdict on one thing that the guest uses. */
export interface PlanItem {
  readonly role: Role;
  readonly label: string;
  readonly target?: string;
  readonly place?: Place;
  readonly verdict: 'lock' | 'skip' | 'refuse';
  /** What it would be, or is, locked as; `peek` only with verdict `skip`. */
  readonly mode?: Mode | 'peek';
  /** Why it is skipped or refused; for `lock`, why this mode if that is not plain. */
  readonly reason?: string;
  /** With verdict `refuse`: the code of the error that it becomes. */
  readonly code?: ErrorCode;
  /** With verdict `refuse`: what to do. */
  readonly remedy?: string;
  readonly resource?: Resource;
  /** How the host caches it, where the XML says so. */
  readonly cache?: string;
  /** Of a base or an ancestor: the label of the disk it belongs to. */
  readonly of?: string;
}

/** A verdict for each thing the guest uses. */
export interface Plan {
  readonly owner: OwnerDescription;
  /** In a fixed order: the domain, then each disk with what is below and around it, then leases. */
  readonly items: readonly PlanItem[];
  /** What to lock: each identity once, sorted by identity, so that two acquirers never wait in a circle. */
  readonly requests: readonly LockRequest[];
  /** What the user should know and no single item says. */
  readonly notes: readonly string[];
  /** Whether it depends on what images say of themselves: then it is made again under the lock. */
  readonly headersRead: boolean;
  readonly onLockFailure?: LossAction;
}

/** Someone found to hold or use a resource, with the evidence. */
export interface Holder {
  /** The guest's name, where there is a guest. */
  readonly guest?: string;
  readonly uuid?: string;
  /** What a holder that is no guest calls itself (`--name`), where that is not the program's name. */
  readonly name?: string;
  /** The program's name (`qemu-system-x86_64`). */
  readonly program?: string;
  readonly pid?: number;
  readonly startTime?: number;
  /** The user it runs as, by name, or by number. */
  readonly user?: string;
  /** `this host`, a host's name, or undefined: not known. */
  readonly host?: string;
  /** ISO 8601, to the second, UTC: since when it holds, or else since when the process runs. */
  readonly since?: string;
  readonly mode?: Mode;
  /** The container or pid namespace that it runs in, in words (`docker container 3f2a91c0`), where that is not this process's own. */
  readonly container?: string;
  /** The modes in which a request is refused because of it; empty: it is only shown. Missing: not known. */
  readonly refuses?: readonly Mode[];
  /** What it does with it, in words, where that is known: `reads`, `writes`, `forbids other writers`, `copies from it (qemu-img convert)`, `is stopped by a signal`. */
  readonly does?: readonly string[];
  /** In words: `Holdfast`, `virtlockd`, `QEMU's own image lock`, `no lock: open for writing`, `mounted on /mnt`. */
  readonly through: readonly string[];
  /** Raw: lines of /proc, paths of records. */
  readonly evidence: readonly string[];
  /** What to do about it. */
  readonly remedy?: string;
}

/** Why and since when a hold can no longer be guaranteed. */
export interface Loss {
  readonly reason: string;
  readonly resources: readonly string[];
  readonly cause?: unknown;
}

/** The stable codes of errors; `errors.ts` has their table. */
export type ErrorCode =
  | 'USAGE'
  | 'XML_SYNTAX'
  | 'XML_FORBIDDEN'
  | 'XML_LIMIT'
  | 'NOT_A_DOMAIN'
  | 'BAD_DATA'
  | 'BAD_UUID'
  | 'NO_SOURCE'
  | 'RELATIVE_PATH'
  | 'SAME_DISK_TWICE'
  | 'NO_SUCH_FILE'
  | 'NOT_READABLE'
  | 'NOT_A_DISK'
  | 'NO_SUCH_DOMAIN'
  | 'NO_SUCH_HOLD'
  | 'LIBVIRT_UNREACHABLE'
  | 'CLUSTER_UNREACHABLE'
  | 'CLUSTER_NO_QUORUM'
  | 'CLUSTER_NO_SPACE'
  | 'CLUSTER_AUTH'
  | 'CLUSTER_TLS'
  | 'CLUSTER_LIMIT'
  | 'CLUSTER_COMPACTED'
  | 'NOT_JOINED'
  | 'NO_LEASE'
  | 'CANNOT_LOCK'
  | 'DRIVER_UNKNOWN'
  | 'DRIVER_UNSAFE'
  | 'DRIVER_BROKEN'
  | 'DRIVER_FAILED'
  | 'NO_RECORD'
  | 'UNSUPPORTED'
  | 'LOST'
  | 'IN_USE'
  | 'MOVED'
  | 'TIMEOUT'
  | 'ABORTED'
  | 'ENDED'
  | 'NOT_PERMITTED'
  | 'CONFIG'
  | 'COMMAND_NOT_EXECUTABLE'
  | 'COMMAND_NOT_FOUND'
  | 'INTERNAL';
