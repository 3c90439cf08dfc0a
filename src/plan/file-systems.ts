/** Which types of file systems only one host reaches, and what names the others on every host alike. */
import type { Mount } from '../system/mounts.js';

/** Types, as the mount table names them, that only this host has. */
const localTypes: ReadonlySet<string> = new Set(
  [
    'ext2 ext3 ext4 xfs btrfs bcachefs zfs f2fs jfs reiserfs nilfs2',
    'tmpfs ramfs devtmpfs rootfs overlay aufs ecryptfs hugetlbfs',
    'vfat exfat ntfs ntfs3 fuseblk hfsplus minix udf iso9660 squashfs erofs',
  ].flatMap((line) => line.split(' ')),
);

/** How the source of a mount is written the same on every host; `name` is what stands in the identity. */
interface NetworkType {
  readonly name: string;
  readonly normalise: (source: string) => string;
}

/** `HOST:REST`; the host can be an IPv6 address in brackets, or a list. */
function splitHost(source: string): [host: string, rest: string] {
  const match = /^(\[[^\]]*\][^:]*|[^:]*):(.*)$/s.exec(source);
  return match === null ? [source, ''] : [match[1] ?? '', match[2] ?? ''];
}

function tidyPath(path: string): string {
  const tidy = path.replace(/\/+/g, '/');
  return tidy.length > 1 && tidy.endsWith('/') ? tidy.slice(0, -1) : tidy;
}

const nfs: NetworkType = {
  name: 'nfs',
  normalise: (source) => {
    const [host, path] = splitHost(source);
    return `${host.toLowerCase()}:${tidyPath(path)}`;
  },
};

// `HOST:/v1`, `HOST:v1` and `HOST:/v1/folder` are one volume, and its inode numbers come from its own file ids.
const gluster: NetworkType = {
  name: 'glusterfs',
  normalise: (source) => {
    const [host, volume] = splitHost(source);
    return `${host.toLowerCase()}:${tidyPath(volume).split('/').find(Boolean) ?? ''}`;
  },
};

// `mon1,mon2:/folder`, or since Linux 5.17 `user@fsid.name=/folder`. Inode numbers are the whole file system's,
// so the folder is left out.
const ceph: NetworkType = {
  name: 'ceph',
  normalise: (source) => {
    const named = /^[^@/]*@([^=/]+)=/.exec(source);
    if (named !== null) return (named[1] ?? '').toLowerCase();
    const monitors = source
      .replace(/:\/.*$/s, '')
      .toLowerCase()
      .split(',');
    return monitors.toSorted().join(',');
  },
};

const cifs: NetworkType = {
  name: 'cifs',
  normalise: (source) => tidyPath(source.replaceAll('\\', '/').toLowerCase()),
};

const asWritten = (name: string): NetworkType => ({ name, normalise: (source) => source });

/** Types whose inode numbers are the same on every host that mounts the source. */
const networkTypes: ReadonlyMap<string, NetworkType> = new Map([
  ['nfs', nfs],
  ['nfs4', nfs],
  ['fuse.glusterfs', gluster],
  ['ceph', ceph],
  ['fuse.ceph', ceph],
  ['fuse.ceph-fuse', ceph],
  ['cifs', cifs],
  ['smb3', cifs],
  ['lustre', asWritten('lustre')],
  ['beegfs', asWritten('beegfs')],
  ['gpfs', asWritten('gpfs')],
  ['pvfs2', asWritten('pvfs2')],
  ['fuse.juicefs', asWritten('juicefs')],
  ['fuse.mfs', asWritten('moosefs')],
]);

/** File systems that several hosts mount from one block device: the device's own uuid or identity names them. */
const clusterBlockTypes: ReadonlySet<string> = new Set(['gfs2', 'ocfs2']);

export type FileSystem =
  | { readonly kind: 'local' }
  /** Counted as local, and said so. */
  | { readonly kind: 'unknown'; readonly type: string }
  | { readonly kind: 'network'; readonly name: string; readonly source: string }
  | { readonly kind: 'cluster block'; readonly name: string; readonly source: string; readonly dev: string };

/** The source by the name that configuration gives it: that of the whole source, or else that of its host. */
function canonicalSource(
  source: string,
  normalise: NetworkType['normalise'],
  aliases: ReadonlyMap<string, string>,
): string {
  const plain = normalise(source);
  const whole = aliases.get(source) ?? aliases.get(plain);
  if (whole !== undefined) return normalise(whole);
  const [host, rest] = splitHost(plain);
  const other = rest === '' ? undefined : aliases.get(host);
  return other === undefined ? plain : normalise(`${other}:${rest}`);
}

/** What kind of file system a mount is, and the name of what is mounted. No mount: nothing is known of it. */
export function fileSystemOf(
  mount: Mount | undefined,
  aliases: ReadonlyMap<string, string>,
  moreLocal: ReadonlySet<string> = new Set(),
): FileSystem {
  if (mount === undefined) return { kind: 'unknown', type: 'unknown' };
  const { type } = mount;
  if (localTypes.has(type) || moreLocal.has(type)) return { kind: 'local' };
  if (clusterBlockTypes.has(type)) {
    return {
      kind: 'cluster block',
      name: type,
      source: aliases.get(mount.source) ?? mount.source,
      dev: mount.dev,
    };
  }
  const network = networkTypes.get(type);
  // A CIFS client makes inode numbers up unless the server gives them (mount.cifs(8), serverino).
  const madeUp = network === cifs && !mount.options.includes('serverino');
  if (network === undefined || madeUp) return { kind: 'unknown', type };
  return {
    kind: 'network',
    name: network.name,
    source: canonicalSource(mount.source, network.normalise, aliases),
  };
}
