/**
 * What is known of the file system that a disk is on and of its mount options: nfs(5), mount.cifs(8), gfs2(5),
 * the kernel's Documentation/filesystems (ocfs2, 9p, overlayfs), and the manuals of FUSE programs.
 */
import type { Mount } from '../system/mounts.js';
import { finding, type Finding, type FindingId } from './finding.js';
import type { Disk, Host } from './host.js';

/** FUSE programs that pass byte range locks on to their servers. */
const fuseWithLocks: ReadonlySet<string> = new Set(
  'glusterfs ceph ceph-fuse juicefs mfs lizardfs moosefs beegfs'.split(' '),
);
/** FUSE programs whose storage others reach, and which tell nobody of locks: the kernel keeps them, for this mount. */
const fuseWithoutLocks: ReadonlySet<string> = new Set(
  's3fs sshfs rclone gcsfuse goofys geesefs blobfuse blobfuse2 curlftpfs davfs mount.davfs httpfs jmtpfs gvfsd-fuse smbnetfs mount-s3'.split(
    ' ',
  ),
);
/** FUSE programs that show the files of another folder of this host. */
const fuseLayers: ReadonlySet<string> = new Set(
  'bindfs mergerfs mhddfs unionfs unionfs-fuse encfs gocryptfs cryfs securefs fuse-overlayfs lxcfs'.split(
    ' ',
  ),
);

export function checkFileSystems(host: Host, disks: readonly Disk[]): Finding[] {
  return disks.flatMap((disk) => {
    const mount = host.mountOf(disk);
    const found = [
      ...(mount === undefined ? [] : judgeMount(mount, disk.label)),
      ...unknownType(disk, mount),
    ];
    if (found.length > 0 || mount === undefined) return found;
    const what = `nothing is known against ${mount.type}, as it is mounted on ${mount.point}`;
    return [finding('file-system-suits', { subject: disk.label, what, evidence: [mountLine(mount)] })];
  });
}

/** FUSE and shares of the host have findings of their own. */
function unknownType({ label, resource }: Disk, mount: Mount | undefined): Finding[] {
  const type = resource.unknownFileSystem;
  if (type === undefined || (mount !== undefined && judgeMount(mount, label).length > 0)) return [];
  return [
    finding('file-system-unknown', {
      subject: label,
      what: `the file system ${type} is in no table`,
      evidence: mount === undefined ? [] : [mountLine(mount)],
    }),
  ];
}

/** What speaks against a mount; nothing: it suits. */
export function judgeMount(mount: Mount, subject: string): Finding[] {
  const { type, options, point } = mount;
  const has = (...names: readonly string[]): string | undefined =>
    names.find((name) => options.includes(name));
  const say = (id: FindingId, what: string): Finding =>
    finding(id, { subject, what, evidence: [mountLine(mount)] });
  const fuse = /^fuse\.(.*)$/.exec(type)?.[1];
  if (type === 'nfs' || type === 'nfs4') return judgeNfs(mount, say);
  if (type === 'cifs' || type === 'smb3') {
    const locks = has('nobrl')
      ? say('cifs-locks-off', `the CIFS mount on ${point} keeps its locks to itself (nobrl)`)
      : say('cifs-locks-mandatory', `locks on the CIFS mount on ${point} bind those who never asked`);
    const inodes = has('serverino')
      ? []
      : [say('cifs-inodes-made-up', `the CIFS mount on ${point} makes inode numbers up`)];
    return [locks, ...inodes];
  }
  if (['gfs2', 'ocfs2', 'lustre'].includes(type)) {
    const local = has('localflocks', 'localflock');
    return local === undefined
      ? []
      : [say('cluster-locks-off', `the ${type} on ${point} keeps its locks to itself (${local})`)];
  }
  if (type === 'overlay' || type === 'aufs') {
    return [say('overlay-file-system', `it is on an ${type}, mounted on ${point}`)];
  }
  if (type === '9p' || type === 'virtiofs' || type === 'vboxsf') {
    return [say('guest-share-locks', `it is on a folder that the host shares (${type} on ${point})`)];
  }
  if (type === 'ecryptfs' || (fuse !== undefined && fuseLayers.has(fuse))) {
    return [say('layered-file-system', `${fuse ?? type} on ${point} shows files of another folder`)];
  }
  if (fuse !== undefined && fuseWithoutLocks.has(fuse)) {
    return [say('fuse-locks-local', `${fuse} on ${point} sends no locks to its server`)];
  }
  if (type === 'fuse' || (fuse !== undefined && !fuseWithLocks.has(fuse))) {
    return [
      say('fuse-locks-unknown', `nothing is known of the locks of ${fuse ?? 'the FUSE mount'} on ${point}`),
    ];
  }
  return [];
}

/**
 * `local_lock` is none, all, flock or posix; open file description locks are of the POSIX kind. A version 3 mount with
 * nolock shows local_lock=all as well.
 */
function judgeNfs({ options, point }: Mount, say: (id: FindingId, what: string) => Finding): Finding[] {
  const local = options.find((option) => ['nolock', 'local_lock=all', 'local_lock=posix'].includes(option));
  const version = options.map((option) => /^(?:nfs)?vers=(\d)/.exec(option)?.[1]).find(Boolean);
  return [
    ...(local === undefined
      ? []
      : [say('nfs-locks-off', `the NFS mount on ${point} keeps its locks to itself (${local})`)]),
    ...(version === '2' || version === '3'
      ? [say('nfs-version-3', `the mount on ${point} speaks NFSv${version}`)]
      : []),
  ];
}

function mountLine({ dev, source, point, type, options }: Mount): string {
  return `/proc/self/mountinfo: ${dev} ${source} on ${point} (${type}) ${options.join(',')}`;
}
