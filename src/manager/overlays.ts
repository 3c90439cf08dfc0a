/**
 * Overlays above an image, as the process sees them that has it open as a base: its command line says which of its
 * images are qcow2, their headers say what is below. No format is guessed, and only files are read that it has open.
 */
import { qcow2Images } from '../holders/find-holders.js';
import { readBackingName } from '../plan/backing-name.js';
import { withImage } from '../plan/open-image.js';
import { parseQcow2Header, type Qcow2Header } from '../plan/qcow2-header.js';
import { sameInode } from '../system/inode.js';
import { openRegularFiles, pathSeenBy, regularFileAt, wholePathOf } from '../system/process-files.js';
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
  const open = openRegularFiles(pid);
  return images
    .filter((image) => standsOn(pid, image, inode, open))
    .map((image) => `uses it as the base of ${wholePathOf(pid, image)}`);
}

type OpenFiles = ReturnType<typeof openRegularFiles>;

function standsOn(pid: number, image: string, base: Inode, open: OpenFiles): boolean {
  let path = image;
  for (let depth = 0; depth < chainMax; depth++) {
    const backing = headerAt(pid, path, open)?.backing;
    if (backing === undefined) return false;
    const below = readBackingName(backing.name, path, backing.format);
    if (below.kind !== 'path') return false;
    const found = regularFileAt(pathSeenBy(pid, below.path));
    if (found !== undefined && sameInode(found, base)) return true;
    if (below.format !== 'qcow2') return false;
    path = below.path;
  }
  return false;
}

function headerAt(pid: number, path: string, open: OpenFiles): Qcow2Header | undefined {
  const inode = regularFileAt(pathSeenBy(pid, path));
  const file = open.find((each) => inode !== undefined && sameInode(each.inode, inode));
  if (file === undefined) return undefined;
  try {
    const seen = { path, realPath: file.path, inode: file.inode, storage: 'file' } as const;
    return withImage(seen, (readAt) => parseQcow2Header(readAt, path));
  } catch {
    return undefined; // Damaged, or not ours to read.
  }
}
