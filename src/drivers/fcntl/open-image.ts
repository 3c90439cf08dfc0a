/** Opens what is to be locked, and makes sure that it is what the plan saw. */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { HoldfastError } from '../../errors.js';
import { pauseThread } from '../../system/clock.js';
import { deviceName, inodeOf, sameInode } from '../../system/inode.js';
import type { Mode, Resource } from '../../vocabulary.js';

const { O_RDONLY, O_RDWR, O_NONBLOCK, O_NOCTTY } = constants;

/**
 * A program that tests for writers by a file lease makes a non-blocking open fail for some microseconds
 * (fcntl(2), "Leases"); Holdfast itself is such a program.
 */
const leaseRetriesMax = 50;
const leasePauseMs = 1;

/** Whether the mode needs a descriptor open for writing: a write lock does, and a writer has to be able to write. */
export const opensForWriting = (mode: Mode): boolean => mode === 'exclusive' || mode === 'shared';

/**
 * Opens a file or block device for a lock in `mode`, never through anything else, never blocking.
 * Throws `MOVED` if it is not what the plan saw, `NOT_PERMITTED`, `DRIVER_FAILED`.
 */
export function openImage(resource: Resource, mode: Mode, forWriting = opensForWriting(mode)): number {
  const path = resource.path ?? '';
  const fd = openPatiently(path, (forWriting ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_NOCTTY, resource);
  try {
    const stats = fstatSync(fd, { bigint: true });
    const planned =
      resource.storage === 'block'
        ? stats.isBlockDevice() && deviceName(stats.rdev) === resource.device
        : stats.isFile() && resource.inode !== undefined && sameInode(inodeOf(stats), resource.inode);
    if (!planned) throw moved(resource);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function openPatiently(path: string, flags: number, resource: Resource): number {
  for (let round = 0; ; round++) {
    try {
      return openSync(path, flags);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'EAGAIN' && round < leaseRetriesMax) {
        pauseThread(leasePauseMs);
        continue;
      }
      throw openError(resource, cause as NodeJS.ErrnoException);
    }
  }
}

/** What an error of the system's means for who wanted to lock this. */
export function openError(resource: Resource, cause: NodeJS.ErrnoException): HoldfastError {
  const details = { resource: resource.label, cause };
  switch (cause.code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ELOOP':
      return moved(resource, cause);
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new HoldfastError(
        'NOT_PERMITTED',
        `${resource.label} cannot be opened for its lock: ${cause.message}`,
        details,
      );
    default:
      return new HoldfastError(
        'DRIVER_FAILED',
        `${resource.label} cannot be opened for its lock: ${cause.message}`,
        details,
      );
  }
}

function moved(resource: Resource, cause?: unknown): HoldfastError {
  return new HoldfastError('MOVED', `${resource.label} is no longer what it was when it was planned`, {
    resource: resource.label,
    ...(cause === undefined ? {} : { cause }),
  });
}
