/** Reads the first bytes of an image that was looked at, and nothing else of it. */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { HoldfastError, causeText } from '../errors.js';
import { inodeOf, sameInode } from '../system/inode.js';
import { printable, type Seen } from './look-at-path.js';
import type { ReadAt } from './qcow2-header.js';

/** Enough for the header, its extensions and the backing name of nearly every image, in one read. */
const firstReadBytes = 4096;

/**
 * Calls `use` with a reader of the image. Throws `NOT_READABLE` if it cannot be opened or read, `MOVED` if another
 * file has taken its place since it was looked at.
 */
export function withImage<T>(seen: Seen, use: (readAt: ReadAt) => T): T {
  const label = printable(seen.path);
  const attempt = <R>(action: () => R): R => {
    try {
      return action();
    } catch (error) {
      const message = `${label} cannot be read: ${printable(causeText(error))}`;
      throw new HoldfastError('NOT_READABLE', message, { resource: label, cause: error });
    }
  };
  // Without O_NONBLOCK the open would wait for ever on a named pipe that took the image's place.
  const { O_RDONLY, O_NONBLOCK, O_NOCTTY } = constants;
  const fd = attempt(() => openSync(seen.realPath, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  try {
    const stats = fstatSync(fd, { bigint: true });
    const readable = stats.isFile() || stats.isBlockDevice();
    if (!readable || !sameInode(inodeOf(stats), seen.inode)) {
      throw new HoldfastError('MOVED', `${label} was replaced while it was looked at`, { resource: label });
    }
    const read: ReadAt = (offset, length) => {
      const buffer = Buffer.alloc(length);
      let done = 0;
      while (done < length) {
        const bytes = attempt(() => readSync(fd, buffer, done, length - done, offset + done));
        if (bytes === 0) break;
        done += bytes;
      }
      return buffer.subarray(0, done);
    };
    const first = read(0, firstReadBytes);
    return use((offset, length) =>
      offset + length <= first.length || first.length < firstReadBytes
        ? first.subarray(offset, offset + length)
        : read(offset, length),
    );
  } finally {
    closeSync(fd);
  }
}
