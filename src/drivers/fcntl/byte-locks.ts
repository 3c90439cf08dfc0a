/** Locks of one mode on one open file: lock first, then test; the caller rolls back by closing. */
import { testLock, tryLock, type Conflict } from '../../system/ofd-lock.js';
import type { Mode } from '../../vocabulary.js';
import { asleepByte, guardByte, modeByte, qemuHolds, qemuRange, qemuTests } from './byte-table.js';

export type QemuLock = 'check' | 'hold' | 'off';

/** Why a mode was not granted. */
export interface ByteConflict {
  readonly byte: number;
  /** Who is behind it: virtlockd or Holdfast (0), Holdfast (2 to 4), or QEMU. */
  readonly side: 'guard' | 'mode' | 'qemu';
  readonly conflict: Conflict | undefined;
}

const otherModeBytes = (mode: keyof typeof modeByte): readonly number[] =>
  Object.entries(modeByte).flatMap(([other, byte]) => (other === mode ? [] : [byte]));

/**
 * Takes `mode` on an open file. Undefined: it is taken. Otherwise the caller closes the descriptor, which
 * rolls back. The descriptor must be open for writing for `exclusive`.
 */
export function takeMode(fd: number, mode: Mode, qemu: QemuLock): ByteConflict | undefined {
  const own = mode === 'exclusive' ? takeExclusive(fd) : takeWithOthers(fd, mode);
  if (own !== undefined || qemu === 'off') return own;
  const held = qemu === 'hold' ? takeReadLocks(fd, qemuHolds(mode), 'qemu') : undefined;
  return held ?? testQemu(fd, mode);
}

/** A program that write-locks more than its share (the whole file) stands in the way of these too. */
function takeReadLocks(
  fd: number,
  bytes: readonly number[],
  side: ByteConflict['side'],
): ByteConflict | undefined {
  for (const byte of bytes) {
    if (!tryLock(fd, 'read', byte)) return { byte, side, conflict: testLock(fd, 'read', byte) };
  }
  return undefined;
}

function takeExclusive(fd: number): ByteConflict | undefined {
  if (tryLock(fd, 'write', guardByte)) return undefined;
  return { byte: guardByte, side: 'guard', conflict: testLock(fd, 'write', guardByte) };
}

function takeWithOthers(fd: number, mode: keyof typeof modeByte): ByteConflict | undefined {
  return (
    takeReadLocks(fd, [guardByte], 'guard') ??
    takeReadLocks(fd, [modeByte[mode]], 'mode') ??
    testModeBytes(fd, mode)
  );
}

function testModeBytes(fd: number, mode: keyof typeof modeByte): ByteConflict | undefined {
  for (const byte of otherModeBytes(mode)) {
    const conflict = testLock(fd, 'write', byte);
    if (conflict !== undefined) return { byte, side: 'mode', conflict };
  }
  // virtlockd's shared writer looks like a reader: it read-locks byte 0 and nothing else. There is no byte of
  // its own to test; QEMU's byte 101 tells, which `testQemu` looks at for `read`.
  return undefined;
}

function testQemu(fd: number, mode: Mode): ByteConflict | undefined {
  if (!qemuHasIt(fd)) return undefined;
  for (const byte of qemuTests(mode)) {
    const conflict = testLock(fd, 'write', byte);
    if (conflict !== undefined) return { byte, side: 'qemu', conflict };
  }
  return undefined;
}

/** Whether anyone has any of QEMU's locks on an open file. */
export function qemuHasIt(fd: number): boolean {
  return testLock(fd, 'write', qemuRange.start, qemuRange.length) !== undefined;
}

/** Whether somebody has given an open file back only for a while, and relies on it being left alone. */
export function isSleptOn(fd: number): boolean {
  return testLock(fd, 'write', asleepByte) !== undefined;
}

/** What would stand in the way of `mode`, taking nothing; works on a descriptor opened only for reading. */
export function testMode(fd: number, mode: Mode, qemu: QemuLock): ByteConflict | undefined {
  const guard = testLock(fd, mode === 'exclusive' ? 'write' : 'read', guardByte);
  if (guard !== undefined) return { byte: guardByte, side: 'guard', conflict: guard };
  const own =
    mode === 'exclusive'
      ? undefined
      : (testReadLocks(fd, [modeByte[mode]], 'mode') ?? testModeBytes(fd, mode));
  if (own !== undefined || qemu === 'off') return own;
  const held = qemu === 'hold' ? testReadLocks(fd, qemuHolds(mode), 'qemu') : undefined;
  return held ?? testQemu(fd, mode);
}

/** What `takeReadLocks` would be refused for. */
function testReadLocks(
  fd: number,
  bytes: readonly number[],
  side: ByteConflict['side'],
): ByteConflict | undefined {
  for (const byte of bytes) {
    const conflict = testLock(fd, 'read', byte);
    if (conflict !== undefined) return { byte, side, conflict };
  }
  return undefined;
}

/** The modes that are held on an open file, as far as bytes 0 and 2 to 4 tell; virtlockd's shared one is `shared`. */
export function heldModes(fd: number): readonly Mode[] {
  const guard = testLock(fd, 'write', guardByte);
  if (guard === undefined) return [];
  if (guard.type === 'write') return ['exclusive'];
  const told = (Object.keys(modeByte) as (keyof typeof modeByte)[]).filter(
    (mode) => testLock(fd, 'write', modeByte[mode]) !== undefined,
  );
  return told.length === 0 ? ['shared'] : told;
}
