/** Whether a file system is one that only this host can reach, by its magic number (statfs(2)). */
import { statfsSync } from 'node:fs';

/**
 * Those that are local whatever their mount says: one call tells, where the mount table would cost 100 us. All
 * others (network, FUSE, cluster, unknown) are looked up there.
 */
const localMagics: ReadonlySet<number> = new Set([
  0xef53, // ext2, ext3, ext4
  0x58465342, // xfs
  0x9123683e, // btrfs
  0xca451a4e, // bcachefs
  0x2fc12fc1, // zfs
  0xf2f52010, // f2fs
  0x01021994, // tmpfs
  0x858458f6, // ramfs
  0x794c7630, // overlay
]);

/** By the type that statfs(2) gives. False: not known to be local. */
export function isLocalType(magic: number): boolean {
  return localMagics.has(magic);
}

/** False: not known to be; the mount table decides. */
export function isLocalFileSystem(path: string): boolean {
  try {
    return isLocalType(statfsSync(path).type);
  } catch {
    return false;
  }
}
