/** Descriptors that somebody kept over a restart, found again by what they are open on. */
import { fstatSync, lstatSync } from 'node:fs';
import { deviceName, inodeOf, sameInode } from '../../system/inode.js';
import type { LockTarget } from './lock-targets.js';

export class KeptDescriptors {
  readonly #all: ReadonlySet<number>;
  readonly #left: Set<number>;

  constructor(descriptors: readonly number[]) {
    this.#all = new Set(descriptors);
    this.#left = new Set(descriptors);
  }

  has(fd: number): boolean {
    return this.#all.has(fd);
  }

  /** The one that is open on a target; undefined: none is. Each is given once. */
  take(target: LockTarget): number | undefined {
    for (const fd of this.#left) {
      if (!isOpenOn(fd, target)) continue;
      this.#left.delete(fd);
      return fd;
    }
    return undefined;
  }

  /** Those that no target asked for: of a file that is no longer locked for such a resource, because a setting changed. */
  get left(): readonly number[] {
    return [...this.#left];
  }
}

function isOpenOn(fd: number, target: LockTarget): boolean {
  const open = fstatSync(fd, { bigint: true });
  if (target.kind === 'image') {
    const { storage, device, inode } = target.resource;
    if (storage === 'block') return open.isBlockDevice() && deviceName(open.rdev) === device;
    return open.isFile() && inode !== undefined && sameInode(inodeOf(open), inode);
  }
  // A lock on a file that has lost its name is nobody's lock.
  const named = lstatSync(target.path, { bigint: true, throwIfNoEntry: false });
  return named !== undefined && sameInode(inodeOf(named), inodeOf(open));
}
