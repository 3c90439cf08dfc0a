/** What the bytes themselves tell of holders. The kernel names no process for an OFD lock; `holders/` finds it. */
import { accessSync, closeSync, constants } from 'node:fs';
import type { HoldfastError } from '../../errors.js';
import { loadLibc } from '../../system/libc.js';
import type { Holder, LockRequest, Mode } from '../../vocabulary.js';
import { heldModes, testMode, type ByteConflict, type QemuLock } from './byte-locks.js';
import { qemuByteMeaning } from './byte-table.js';
import { openLockFileForTest } from './lock-file.js';
import type { LockTarget } from './lock-targets.js';
import { openError, openImage, opensForWriting } from './open-image.js';

const modeOfByte: Readonly<Record<number, Mode>> = { 2: 'shared', 3: 'read', 4: 'part' };

/** A holder from a conflict: the mode as far as it can be told, the pid if it is a POSIX lock. */
export function conflictHolder({ byte, side, conflict }: ByteConflict, path: string): Holder {
  const qemu = side === 'qemu';
  const mode = byte === 0 && conflict?.type === 'write' ? 'exclusive' : modeOfByte[byte];
  const evidence = `a ${conflict?.type ?? 'passing'} lock on byte ${byte} of ${path}`;
  return {
    ...(mode === undefined ? {} : { mode }),
    ...(conflict?.pid === undefined ? {} : { pid: conflict.pid }),
    through: [qemu ? "QEMU's own image lock" : 'virtlockd or Holdfast'],
    evidence: [qemu ? `${evidence}: ${qemuByteMeaning(byte)}` : evidence],
  };
}

/** Who would be in the way of a request now; takes nothing. What cannot be opened is left to `acquire` to complain of. */
export function probeRequest(
  request: LockRequest,
  targets: readonly LockTarget[],
  qemu: QemuLock,
): readonly Holder[] {
  return targets.flatMap((target) => {
    const conflict = inspect(target, (fd) =>
      testMode(fd, request.mode, target.kind === 'image' ? qemu : 'off'),
    );
    return conflict === undefined ? [] : [conflictHolder(conflict, target.path)];
  });
}

/** What `acquire` would complain of before it locks anything: an image that this user may not open as it has to be. */
export function permissionError(
  { resource, mode }: LockRequest,
  targets: readonly LockTarget[],
): HoldfastError | undefined {
  for (const target of targets) {
    if (target.kind !== 'image' || target.spare) continue;
    try {
      // Without opening it for writing, which others would take for a use.
      accessSync(target.path, opensForWriting(mode) ? constants.R_OK | constants.W_OK : constants.R_OK);
    } catch (cause) {
      return openError(resource, cause as NodeJS.ErrnoException);
    }
  }
  return undefined;
}

/** Everyone the bytes tell of, once for each mode that is held. */
export function resourceHolders(targets: readonly LockTarget[]): readonly Holder[] {
  const held = targets.flatMap((target) =>
    (inspect(target, heldModes) ?? []).map((mode): [Mode, string] => [mode, target.path]),
  );
  return [...new Map(held)].map(([mode, path]) => ({
    mode,
    through: ['virtlockd or Holdfast'],
    evidence: [`locked as ${mode}: ${path}`],
  }));
}

/** Opens a target only to look at it; undefined if it cannot be opened. */
export function inspect<Result>(target: LockTarget, look: (fd: number) => Result): Result | undefined {
  let fd: number;
  // Whoever looks in the same moment sees it open (holders/passing-readers.ts).
  loadLibc();
  try {
    fd = target.kind === 'image' ? openImage(target.resource, 'read') : openLockFileForTest(target.path);
  } catch {
    return undefined;
  }
  try {
    return look(fd);
  } finally {
    closeSync(fd);
  }
}
