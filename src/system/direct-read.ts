/** Reads storage past this host's page cache (open(2), O_DIRECT), which does not know what other hosts have written. */
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { libcAddress } from './libc.js';

/** What memory and lengths have to be multiples of: as large as sectors are. */
export const directBytes = 4096;

/** A file or block device that is open for reading. */
export class DirectFile {
  readonly #fd: number;

  /** Throws what open(2) does. A file system without O_DIRECT (tmpfs) is on this host alone, and read as any other. */
  constructor(path: string) {
    const flags = constants.O_RDONLY | constants.O_NONBLOCK;
    try {
      this.#fd = openSync(path, flags | constants.O_DIRECT);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
      this.#fd = openSync(path, flags);
    }
  }

  /** Up to `bytes` from `offset`, both multiples of `directBytes`; less at the end of it. */
  read(offset: number, bytes: number): Buffer {
    const memory = Buffer.alloc(bytes + directBytes);
    const start = Number(-libcAddress(memory) & BigInt(directBytes - 1));
    let length = 0;
    while (length < bytes) {
      const got = readSync(this.#fd, memory, start + length, bytes - length, offset + length);
      length += got;
      // An end that is no multiple can only be the last: from there on it may not be asked for.
      if (got === 0 || got % directBytes !== 0) break;
    }
    return memory.subarray(start, start + length);
  }

  close(): void {
    closeSync(this.#fd);
  }
}
