/**
 * Overlays above an image, as the process sees them that has it open as a base: its command line says which of its
 * images are qcow2, their headers say what is below. No format is guessed, and only files are read that it has open.
 *
 * Other images of that process can be on a server that does not answer. Nothing is asked of any: what is not on this
 * host is known by the name that the kernel has for it, and read only on the file system of the image itself.
 */
import { qcow2Images } from '../holders/find-holders.js';
import { readBackingName } from '../plan/backing-name.js';
import { fileSystemOf } from '../plan/file-systems.js';
import { withImage } from '../plan/open-image.js';
import { parseQcow2Header, type Qcow2Header } from '../plan/qcow2-header.js';
import { sameInode } from '../system/inode.js';
import type { Mount, MountTable } from '../system/mounts.js';
import {
  localFileAt,
  mountsOf,
  openRegularFiles,
  wholePathOf,
  type OpenRegularFile,
} from '../system/process-files.js';
import { readProcess } from '../system/process.js';
import type { Inode, Resource } from '../vocabulary.js';

/** A guest has some disks; its chain has a snapshot a day. */
const imagesMax = 64;
const chainMax = 256;

/** What a process uses a resource as, in words: `as the base of /path/overlay.qcow2`. Does not throw. */
export function overlayWords(pid: number, { inode }: Resource): readonly string[] {
  if (inode === undefined) return [];
  const argv = readProcess(pid)?.argv ?? [];
  const images = qcow2Images(argv).slice(0, imagesMax);
  if (images.length === 0) return [];
  const user = { pid, open: openRegularFiles(pid), mounts: mountsOf(pid) };
  return images
    .filter((image) => standsOn(user, image, inode))
    .map((image) => `uses it as the base of ${wholePathOf(pid, image)}`);
}

/** A process with images. */
interface User {
  readonly pid: number;
  readonly open: readonly OpenRegularFile[];
  readonly mounts: MountTable;
}

function standsOn(user: User, image: string, base: Inode): boolean {
  let path = image;
  for (let depth = 0; depth < chainMax; depth++) {
    const file = openImage(user, path);
    const backing = file === undefined ? undefined : headerOf(file, path, base)?.backing;
    if (backing === undefined) return false;
    const below = readBackingName(backing.name, path, backing.format);
    if (below.kind !== 'path') return false;
    const found = openImage(user, below.path);
    if (found !== undefined && sameInode(found.file.inode, base)) return true;
    if (below.format !== 'qcow2') return false;
    path = below.path;
  }
  return false;
}

interface OpenImage {
  readonly file: OpenRegularFile;
  /** It is on a file system of this host. */
  readonly local: boolean;
}

/** What a process has open of a path. */
function openImage({ pid, open, mounts }: User, path: string): OpenImage | undefined {
  const inode = localFileAt(pid, path, mounts, isLocal);
  if (inode !== undefined) {
    const file = open.find((each) => sameInode(each.inode, inode));
    return file === undefined ? undefined : { file, local: true };
  }
  const name = wholePathOf(pid, path);
  const file = open.find((each) => each.name === name);
  return file === undefined ? undefined : { file, local: false };
}

function isLocal(mount: Mount): boolean {
  return fileSystemOf(mount, new Map()).kind === 'local';
}

function headerOf({ file, local }: OpenImage, path: string, base: Inode): Qcow2Header | undefined {
  if (!local && file.inode.dev !== base.dev) return undefined;
  try {
    const seen = { path, realPath: file.path, inode: file.inode, storage: 'file' } as const;
    return withImage(seen, (readAt) => parseQcow2Header(readAt, path));
  } catch {
    return undefined; // Damaged, or not ours to read.
  }
}
