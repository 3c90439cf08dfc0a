/** The four bytes with which every qcow2 image begins; all else of its header is read only where it is said to be one. */
import type { Seen } from './look-at-path.js';
import { withImage } from './open-image.js';

const magic = 0x514649fb;

/** Of the first four bytes of an image, or of more. */
export function hasQcow2Magic(start: Buffer): boolean {
  return start.length >= 4 && start.readUInt32BE(0) === magic;
}

/** Whether an image begins so, whatever it is said to be. Throws `NOT_READABLE`, `MOVED`. */
export function beginsLikeQcow2(seen: Seen): boolean {
  return withImage(seen, (readAt) => hasQcow2Magic(readAt(0, 4)));
}
