/** What the kernel says of the files that virtlockd locks: it names nobody, but what it does can be seen. */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { HoldfastError } from '../../errors.js';
import { pauseThread } from '../../system/clock.js';
import { deviceName, inodeOf, sameInode } from '../../system/inode.js';
import { testLock, type Conflict } from '../../system/ofd-lock.js';
import type { Holder, Resource } from '../../vocabulary.js';
import type { LockName } from './lock-names.js';

const { O_RDONLY, O_NONBLOCK, O_NOCTTY, O_NOFOLLOW } = constants;
/** Who tests for writers by a file lease makes non-blocking opens fail for some microseconds (fcntl(2), "Leases"). */
const leaseRetriesMax = 50;
const lockByte = 0;
/** With these Holdfast's own driver `fcntl` says that a reader of byte 0 is no shared writer: `read`, `part`. */
const otherModes = { start: 3, length: 2 } as const;

/** Opens what a name leads to, only to look. Undefined: it is not there, or this user may not. */
export function openToLook({ file, kind }: LockName): number | undefined {
  const flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | (kind === 'image' ? 0 : O_NOFOLLOW);
  for (let round = 0; ; round++) {
    try {
      return openSync(file, flags);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || round >= leaseRetriesMax) return undefined;
      pauseThread(1);
    }
  }
}

/** Throws `MOVED` unless the descriptor is of what the plan saw. */
export function requirePlanned(fd: number, resource: Resource): void {
  const stats = fstatSync(fd, { bigint: true });
  const planned =
    resource.storage === 'block'
      ? stats.isBlockDevice() && deviceName(stats.rdev) === resource.device
      : stats.isFile() && (resource.inode === undefined || sameInode(inodeOf(stats), resource.inode));
  if (planned) return;
  throw new HoldfastError('MOVED', `${resource.label} is no longer what it was when it was planned`, {
    resource: resource.label,
  });
}

/** What would be in the way of virtlockd's lock, or of what it means; takes nothing. */
export function conflictWith(fd: number, shared: boolean): Conflict | undefined {
  return (
    testLock(fd, shared ? 'read' : 'write', lockByte) ??
    (shared ? testLock(fd, 'write', otherModes.start, otherModes.length) : undefined)
  );
}

/** Whether anybody has virtlockd's lock on an open file. */
export function isLocked(fd: number): boolean {
  return testLock(fd, 'write', lockByte) !== undefined;
}

/** Everyone that the kernel knows of at one file: virtlockd's locks have its pid, Holdfast's own have none. */
export function holdersAt(name: LockName): readonly Holder[] {
  const fd = openToLook(name);
  if (fd === undefined) return [];
  try {
    const conflict = testLock(fd, 'write', lockByte);
    return conflict === undefined ? [] : [holderOf(conflict, name)];
  } finally {
    closeSync(fd);
  }
}

export function holderOf({ type, start, pid }: Conflict, { file }: LockName): Holder {
  return {
    ...(type === 'write' ? { mode: 'exclusive' } : start === lockByte ? { mode: 'shared' } : {}),
    ...(pid === undefined ? {} : { pid }),
    through: ['virtlockd or Holdfast'],
    evidence: [`a ${type} lock on byte ${start} of ${file}`],
  };
}
