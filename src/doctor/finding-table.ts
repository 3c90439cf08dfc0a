/** Every kind of finding. docs/doctor.md is compared with it, both ways. */

export type FindingLevel = 'problem' | 'warning' | 'note' | 'fine';

/** In the order in which they are shown. */
export const findingLevels: readonly FindingLevel[] = ['problem', 'warning', 'note', 'fine'];

interface FindingEntry {
  readonly level: FindingLevel;
  /** What was found, in general. */
  readonly what: string;
  readonly why: string;
  /** Empty: nothing has to be done. */
  readonly remedy: string;
}

const software = {
  'node-supported': {
    level: 'fine',
    what: 'Node is new enough.',
    why: 'Holdfast is tested with Node 20.19 and later.',
    remedy: '',
  },
  'node-too-old': {
    level: 'problem',
    what: 'Node is older than 20.19.',
    why: 'Holdfast uses what older versions do not have, and is not tested with them.',
    remedy: 'Install Node 20.19 or later.',
  },
  'kernel-supported': {
    level: 'fine',
    what: 'The kernel has all that is needed.',
    why: 'Locks are open file description locks (Linux 3.15); processes are signalled through pidfds (Linux 5.3).',
    remedy: '',
  },
  'kernel-without-locks': {
    level: 'problem',
    what: 'The kernel is older than 3.15.',
    why: 'It has no open file description locks, so nothing can be locked.',
    remedy: 'Use a newer kernel.',
  },
  'kernel-old': {
    level: 'warning',
    what: 'The kernel is older than 5.3.',
    why: 'Without pidfds `run --supervise` cannot signal what it supervises, so it cannot stop a command on loss.',
    remedy: 'Use a newer kernel, or `run` without --supervise.',
  },
  'native-calls-work': {
    level: 'fine',
    what: 'Native calls work.',
    why: 'fcntl(2) has no function in Node; the package koffi calls it.',
    remedy: '',
  },
  'native-calls-missing': {
    level: 'problem',
    what: 'The C library cannot be called.',
    why: 'fcntl(2) has no function in Node; without the package koffi nothing can be locked.',
    remedy:
      'Install Holdfast again, on this machine and with optional dependencies; the C library has to be glibc.',
  },
  'tools-found': {
    level: 'fine',
    what: 'The programs that Holdfast asks are installed.',
    why: '`qemu-img` tells what is below an image, `virsh` what a guest is made of.',
    remedy: '',
  },
  'qemu-img-missing': {
    level: 'note',
    what: '`qemu-img` is not installed.',
    why: 'Base images are found only below qcow2: of other formats (vmdk, qed) the chain cannot be read.',
    remedy: 'Install it (Debian: qemu-utils) if there are such images.',
  },
  'virsh-missing': {
    level: 'note',
    what: 'libvirt is configured here, and `virsh` is not installed.',
    why: 'Neither --domain nor volumes of libvirt can be resolved.',
    remedy: 'Install it (Debian: libvirt-clients), or give --xml.',
  },
  'configuration-read': {
    level: 'fine',
    what: 'The configuration can be read.',
    why: 'With a wrong one every command ends with status 78.',
    remedy: '',
  },
  'configuration-wrong': {
    level: 'problem',
    what: 'The configuration is wrong, or others could change it.',
    why: 'Every command ends with status 78, and nothing is locked.',
    remedy: 'Mend the file at the place named.',
  },
} as const satisfies Record<string, FindingEntry>;

const locks = {
  'locks-work': {
    level: 'fine',
    what: 'Locks work in this folder: two descriptors of one file were tried.',
    why: 'A lock that does not keep the second one out would protect nothing.',
    remedy: '',
  },
  'locks-missing': {
    level: 'problem',
    what: 'The file system has no locks, or grants one twice.',
    why: 'Two programs would both be told that the disk is theirs.',
    remedy: 'Keep disks on a file system with locks, or mount this one with them.',
  },
  'locks-untried': {
    level: 'note',
    what: 'Locks could not be tried here, only asked for.',
    why: 'Trying needs a file of its own in the folder. The kernel answers questions about locks also where it cannot take them.',
    remedy: 'Run it as a user who may write to the folder.',
  },
  'locks-reach-other-mount': {
    level: 'fine',
    what: 'A lock through one mount is seen through another mount of the same storage.',
    why: 'To the storage, two mounts are two hosts: they exclude each other.',
    remedy: '',
  },
  'locks-miss-other-mount': {
    level: 'problem',
    what: 'A lock through one mount is not seen through another mount of the same storage.',
    why: 'To the storage, two mounts are two hosts: another host could write the same disk.',
    remedy: 'Mount it in a way in which locks go to the server.',
  },
  'other-hosts-untried': {
    level: 'note',
    what: 'The storage is shared with other hosts; whether a lock here is seen there was not tried.',
    why: 'It takes two mounts to try. What is known of the type and its mount options speaks for it.',
    remedy:
      'On one host: `holdfast run --disk DISK -- sleep 60`; meanwhile on another: `holdfast plan --disk DISK`, which has to say that it is in use.',
  },
  'not-writable': {
    level: 'note',
    what: 'You may not write this disk.',
    why: 'Only `read` can be locked: a lock for writing needs a descriptor that can write.',
    remedy: 'Run as the user who may write it, if it is to be written.',
  },
} as const satisfies Record<string, FindingEntry>;

const fileSystems = {
  'file-system-suits': {
    level: 'fine',
    what: 'Nothing is known against this file system and its mount options.',
    why: 'Some take locks and keep them to themselves.',
    remedy: '',
  },
  'file-system-unknown': {
    level: 'warning',
    what: 'The type of the file system is in no table.',
    why: 'It counts as local to this host, and is refused under drivers for clusters: if other hosts reach it, identities would differ.',
    remedy: 'If only this host reaches it, say so with local_file_systems in the configuration.',
  },
  'nfs-locks-off': {
    level: 'problem',
    what: 'An NFS mount keeps its locks to itself (nolock, local_lock=all or local_lock=posix).',
    why: 'Locks are not sent to the server, so another host can write the same disk.',
    remedy: 'Mount it without nolock and local_lock; with NFSv3 rpc.statd has to run on every host.',
  },
  'nfs-version-3': {
    level: 'warning',
    what: 'The mount speaks NFSv3 or older.',
    why: 'A host that died keeps its locks until it is back, and a server that restarts relies on rpc.statd to get them again.',
    remedy: 'Mount it with vers=4.2.',
  },
  'cifs-locks-off': {
    level: 'problem',
    what: 'A CIFS mount keeps its locks to itself (nobrl).',
    why: 'Locks are not sent to the server, so another host can write the same disk.',
    remedy: 'Mount it without nobrl, or keep disks elsewhere.',
  },
  'cifs-locks-mandatory': {
    level: 'warning',
    what: 'Locks of CIFS bind those who never asked.',
    why: 'A lock on the first byte of an image can make reading that byte fail through another descriptor.',
    remedy: 'Keep disks on a file system with advisory locks, or try the guest under `holdfast run` first.',
  },
  'cifs-inodes-made-up': {
    level: 'warning',
    what: 'A CIFS mount without serverino makes inode numbers up.',
    why: 'The same disk has another identity on each host.',
    remedy: 'Mount it with serverino.',
  },
  'cluster-locks-off': {
    level: 'problem',
    what: 'A cluster file system keeps its locks to itself (localflocks, localflock).',
    why: 'Locks are not sent to the other hosts, which can write the same disk.',
    remedy: 'Mount it without that option; Lustre with flock.',
  },
  'fuse-locks-local': {
    level: 'problem',
    what: 'A FUSE file system of a type that sends no locks to its server (sshfs, s3fs, rclone, ...).',
    why: 'Locks stay within this mount, and other hosts, or other mounts of the same storage, can write the same disk.',
    remedy: 'Keep disks on storage with locks, such as NFSv4, GlusterFS or CephFS.',
  },
  'fuse-locks-unknown': {
    level: 'warning',
    what: 'A FUSE file system of which nothing is known.',
    why: 'Where its program does not handle locks the kernel does, within this mount alone.',
    remedy: 'See whether its program passes locks on; try it with two hosts or two mounts.',
  },
  'layered-file-system': {
    level: 'warning',
    what: 'The mount shows files of another folder (bindfs, mergerfs, encfs, ecryptfs, ...).',
    why: 'A lock on what it shows is not a lock on the file below: whoever uses that is not kept out.',
    remedy: 'Let every program use the same one of the two paths, best the lower one.',
  },
  'overlay-file-system': {
    level: 'note',
    what: 'The disk is on an overlay (as in a container).',
    why: 'Its files have inodes of their own: whoever reaches the layer below by another path is not kept out, and the first write makes another file of a lower one.',
    remedy: 'Keep disks on a volume, outside the overlay.',
  },
  'guest-share-locks': {
    level: 'warning',
    what: 'The storage is a folder of the host that this machine, a guest, was given (9p, virtiofs, vboxsf).',
    why: 'Locks mostly stay within this guest: the host and other guests are not kept out.',
    remedy: 'Lock on the host, or keep the disks that others use as well on a network file system.',
  },
} as const satisfies Record<string, FindingEntry>;

const disks = {
  'disk-unused': {
    level: 'fine',
    what: 'Nobody writes to the disk without a lock.',
    why: 'Such use would be refused when the disk is locked for writing.',
    remedy: '',
  },
  'same-disk': {
    level: 'warning',
    what: 'Two of the paths are the same disk: a symlink, a hard link, a bind mount, two mounts of one export.',
    why: 'Holdfast knows, but what goes by paths does not: libvirt with a lockspace directory locks each name for itself.',
    remedy: 'Use one path everywhere, in domain XML as well.',
  },
  'part-of-disk': {
    level: 'warning',
    what: 'One of the paths is a part of another, or stands on it: a partition of a disk, a loop device on a file, a logical volume.',
    why: 'Holdfast locks what is around a disk too, but other programs do not: both could be written at once.',
    remedy: 'Give a guest one of the two, and let nobody use the other.',
  },
  'more-names': {
    level: 'note',
    what: 'The file has more names (hard links) than this one.',
    why: 'Holdfast knows it by any of them, but what goes by paths does not.',
    remedy: 'Find them with `find DIRECTORY -xdev -samefile FILE`, and remove those that nobody needs.',
  },
  'used-by-kernel': {
    level: 'warning',
    what: 'The disk is mounted, is swap, or has a device standing on it.',
    why: 'A guest that writes to it meanwhile destroys the file system; `run` refuses it.',
    remedy: 'Unmount it, or detach the device, before a guest uses it.',
  },
  'written-without-lock': {
    level: 'problem',
    what: 'A program has the disk open for writing and has no lock.',
    why: 'It asked nobody and would not notice a guest: both would write. `run` refuses the disk meanwhile.',
    remedy: 'Stop it, and start it with `holdfast run` the next time.',
  },
  'guests-locked': {
    level: 'fine',
    what: 'Every guest that runs has locks on the images of its command line.',
    why: 'A guest without a lock is kept apart from nobody.',
    remedy: '',
  },
  'guest-locking-off': {
    level: 'warning',
    what: 'A guest runs with locking=off for a writable image.',
    why: "QEMU's own lock is what qemu-img, libguestfs and other guests look for: they would not see this one.",
    remedy: 'Remove locking=off and start the guest again.',
  },
  'guest-without-lock': {
    level: 'problem',
    what: 'A guest has an image open for writing, and nobody has a lock on it.',
    why: 'Any other program, another guest too, can write to it and is not stopped.',
    remedy: 'Stop the guest, and start it under `holdfast run`, without locking=off.',
  },
  'guests-unseen': {
    level: 'note',
    what: 'What some guests have open cannot be seen.',
    why: 'Whether they have locks is not known.',
    remedy: 'Run it as root.',
  },
} as const satisfies Record<string, FindingEntry>;

const libvirt = {
  'libvirt-absent': {
    level: 'fine',
    what: 'libvirt is not configured here.',
    why: 'There are no settings of libvirt to agree with.',
    remedy: '',
  },
  'libvirt-locks-on': {
    level: 'fine',
    what: 'libvirt locks the disks of its guests through virtlockd.',
    why: 'virtlockd and Holdfast lock the same byte of the same file, so they exclude each other.',
    remedy: '',
  },
  'libvirt-locks-off': {
    level: 'warning',
    what: 'libvirt takes no locks: lock_manager is commented out, or is "nop".',
    why: "Holdfast sees libvirt's guests by QEMU's own lock, but libvirt does not see a disk that `holdfast run` holds for a command that is not QEMU, and starts a guest on it.",
    remedy:
      'Set lock_manager = "lockd" in qemu.conf and restart libvirt, or use --qemu-lock=hold for such commands.',
  },
  'libvirt-other-manager': {
    level: 'warning',
    what: 'libvirt uses another lock manager than lockd.',
    why: "Its locks are elsewhere (sanlock's are in lease areas): Holdfast's driver fcntl does not meet them, and only QEMU's own lock stands between the two.",
    remedy: 'Set lock_manager = "lockd", or use --qemu-lock=hold for commands that are not QEMU.',
  },
  'libvirt-settings-unseen': {
    level: 'note',
    what: "libvirt's settings cannot be read.",
    why: 'Which lock manager is set, if any, is not known: qemu.conf is for root alone.',
    remedy: 'Run it as root.',
  },
  'libvirt-disks-unlocked': {
    level: 'warning',
    what: 'lockd is set, but auto_disk_leases = 0: libvirt locks no disks, only leases.',
    why: 'What has no <lease> in its XML is not locked; a lease keeps out those who ask for the same lease, not those who open the disk.',
    remedy: 'Remove auto_disk_leases = 0 from qemu-lockd.conf and restart libvirt.',
  },
  'lockspace-directory': {
    level: 'note',
    what: 'libvirt locks files in a lockspace directory, not the images.',
    why: 'Holdfast locks there as well, so both exclude each other; but the files go by the path in the XML: to libvirt a disk under two names is two disks.',
    remedy: 'Use one path for each disk in all domain XML.',
  },
  'lockspace-not-shared': {
    level: 'problem',
    what: "libvirt's lockspace directory is on this host alone, the disk on storage that others share.",
    why: 'Each host locks in a directory of its own, so guests on two hosts can have the same disk.',
    remedy:
      'Put the lockspace directory onto the shared storage, or remove the setting: then the image itself is locked.',
  },
  'libvirt-not-restarted': {
    level: 'warning',
    what: "libvirt's settings are newer than its running daemon.",
    why: 'They are read at start: what the file says is not what is done.',
    remedy: 'Restart libvirt (systemctl restart libvirtd, or virtqemud); guests keep running.',
  },
  'virtlockd-running': {
    level: 'fine',
    what: 'virtlockd answers, or will be started when it is asked.',
    why: 'With lock_manager = "lockd" no guest of libvirt can start without it.',
    remedy: '',
  },
  'virtlockd-not-running': {
    level: 'problem',
    what: 'lock_manager is "lockd", and virtlockd does not run.',
    why: 'No guest of libvirt can start, pause or resume; those that run lost the locks that virtlockd held.',
    remedy:
      'Start it: systemctl enable --now virtlockd.socket. Guests that run now get locks when they are paused and resumed.',
  },
} as const satisfies Record<string, FindingEntry>;

const host = {
  'runtime-directory-safe': {
    level: 'fine',
    what: 'The runtime directory is yours alone, or will be made when it is needed.',
    why: 'Locks without a file of their own and records are in it.',
    remedy: '',
  },
  'runtime-directory-unsafe': {
    level: 'problem',
    what: 'The runtime directory, or a folder on the way to it, is in the hands of others.',
    why: 'Others could move locks and records aside, so nothing is locked there.',
    remedy: 'Mend or remove it, or name another directory with HOLDFAST_RUNTIME_DIR.',
  },
  'dead-records': {
    level: 'note',
    what: 'There are records of holds that ended.',
    why: 'A record without its lock is believed by nobody: only room is lost.',
    remedy: '`holdfast list` removes them.',
  },
  'records-alive': {
    level: 'fine',
    what: 'There is no record of a hold that ended.',
    why: 'A record is believed only while its lock is held.',
    remedy: '',
  },
  'machine-id-set': {
    level: 'fine',
    what: 'The host has an id.',
    why: 'It is a part of the identity of local disks, and of owners.',
    remedy: '',
  },
  'machine-id-missing': {
    level: 'warning',
    what: '/etc/machine-id is missing, empty or not set up.',
    why: 'The id of the boot has to do instead, which is new at each boot; in an image for many hosts that is how it should be, on a host it is not.',
    remedy: 'Run systemd-machine-id-setup, or dbus-uuidgen --ensure=/etc/machine-id.',
  },
  'leases-on': {
    level: 'fine',
    what: 'The kernel tells whether a file is open for writing.',
    why: 'A file lease tells it in microseconds, and sees what no descriptor shows.',
    remedy: '',
  },
  'leases-off': {
    level: 'note',
    what: 'The kernel grants no file leases (fs.leases-enable = 0).',
    why: 'Every lock costs a walk over /proc, and a writable memory map whose descriptor is closed is not seen.',
    remedy: 'sysctl fs.leases-enable=1',
  },
  'processes-visible': {
    level: 'fine',
    what: 'The processes of this host can be seen.',
    why: 'Who holds a disk is found by what processes have open.',
    remedy: '',
  },
  'processes-hidden': {
    level: 'warning',
    what: '/proc is mounted so that the processes of other users do not show (hidepid).',
    why: 'Who uses a disk without a lock, or holds one, is not found among them.',
    remedy: 'Run it as root, or mount /proc with gid= of a group that you are in.',
  },
  'processes-of-others': {
    level: 'note',
    what: 'You are not root.',
    why: 'What the processes of other users have open cannot be seen: guests and writers among them were not examined.',
    remedy: 'Run it as root to examine them too.',
  },
  'host-not-seen': {
    level: 'warning',
    what: 'This runs in a container or another pid namespace.',
    why: 'Locks on files that are shared with the host work, but writers without a lock outside the container cannot be seen.',
    remedy: 'Run it on the host, or start the container with --pid=host.',
  },
  'check-failed': {
    level: 'warning',
    what: 'A check could not be made.',
    why: 'What it would have found is not known.',
    remedy: 'See the evidence; if it says nothing to you, please report it.',
  },
} as const satisfies Record<string, FindingEntry>;

const all = { ...software, ...locks, ...fileSystems, ...disks, ...libvirt, ...host };

export type FindingId = keyof typeof all;

export const findings: Readonly<Record<FindingId, FindingEntry>> = all;
