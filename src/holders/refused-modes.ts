/**
 * In which modes a request is refused because of the locks that someone has: what the fcntl driver, with `qemu_lock`
 * at its default, decides when it meets them. The bytes are those of lock-meaning.ts.
 */
import { covers } from '../system/lock-lines.js';
import type { LockLine } from '../system/lock-lines.js';
import { compatible, modes } from '../vocabulary.js';
import type { Mode } from '../vocabulary.js';

/** Who uses something without a lock refuses those who would write; a reader is only warned. */
export const refusedWithoutLock: readonly Mode[] = ['exclusive', 'shared'];

const guardByte = 0;
const modeByte: Readonly<Record<Exclude<Mode, 'exclusive'>, number>> = { shared: 2, read: 3, part: 4 };
/** QEMU's bytes that a mode tests: 10x for what it forbids to others, 20x for what it does. */
const qemuTests: Readonly<Record<Mode, readonly number[]>> = {
  exclusive: [101, 103, 200, 201, 203],
  shared: [200, 201],
  read: [101, 103, 200],
  part: [101, 103, 200, 201],
};

/** The modes that another holder's mode refuses. */
export function refusedByMode(held: Mode): readonly Mode[] {
  return modes.filter((asked) => !compatible(asked, held));
}

/** The modes that these locks refuse: all those that one process has on one file. */
export function refusedByLocks(locks: readonly LockLine[]): readonly Mode[] {
  return modes.filter((mode) => isRefused(mode, locks));
}

function isRefused(mode: Mode, locks: readonly LockLine[]): boolean {
  const held = (byte: number): boolean => locks.some((lock) => covers(lock, byte, byte));
  const written = (byte: number): boolean =>
    locks.some((lock) => lock.type === 'write' && covers(lock, byte, byte));
  const own =
    mode === 'exclusive'
      ? held(guardByte)
      : written(guardByte) ||
        written(modeByte[mode]) ||
        Object.entries(modeByte).some(([other, byte]) => other !== mode && held(byte));
  return own || qemuTests[mode].some(held);
}
