/** Findings: Locks where the disks are, and the file systems that they are on. */
import type { FindingEntry } from '../finding-entry.js';

export const locks = {
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

export const fileSystems = {
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
