/** Reading /proc and /sys: sizes are not known before, what is read may vanish, and nothing there is unbounded. */
import { closeSync, openSync, readSync } from 'node:fs';

const chunkBytes = 16 * 1024;

/**
 * The first `bytesMax` bytes of a file, or undefined where it cannot be read: it vanished, or permission is missing.
 * Such a file says its size is 0, and a seq_file gives at most a page or so a call, so it is read up to its end.
 */
export function readProcBytes(path: string, bytesMax: number): Buffer | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    const parts: Buffer[] = [];
    let total = 0;
    while (total < bytesMax) {
      const part = Buffer.allocUnsafe(Math.min(chunkBytes, bytesMax - total));
      const count = readSync(fd, part, 0, part.length, null);
      if (count === 0) break;
      parts.push(part.subarray(0, count));
      total += count;
    }
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** The same as text. Bytes that are no UTF-8 become U+FFFD: names in /proc are whatever a program chose. */
export function readProcText(path: string, bytesMax: number): string | undefined {
  return readProcBytes(path, bytesMax)?.toString('utf8');
}
