/** Takes and gives back the locks of one request: all its files or none. */
import { closeSync, mkdirSync } from 'node:fs';
import { causeText, HoldfastError, isHoldfastError } from '../../errors.js';
import { unlockAll } from '../../system/ofd-lock.js';
import { privateDirectory } from '../../system/runtime-directory.js';
import type { LockRequest } from '../../vocabulary.js';
import { qemuHasIt, takeMode, type ByteConflict, type QemuLock } from './byte-locks.js';
import type { KeptDescriptors } from './kept-descriptors.js';
import { removeLockFileIfFree, takeLockFile, type LockFileOutcome } from './lock-file.js';
import { conflictHolder } from './lock-holders.js';
import { isShared, type LockTarget } from './lock-targets.js';
import { openImage } from './open-image.js';

export interface LockedFile {
  readonly fd: number;
  readonly target: LockTarget;
}

/** What is locked for one request. */
export interface TakenRequest {
  readonly request: LockRequest;
  readonly descriptors: readonly number[];
  readonly temporary: readonly string[];
  /** What the descriptors are open on. */
  readonly locked: readonly LockedFile[];
  /** Those of its files that other hosts may look at. */
  readonly shared: readonly LockedFile[];
  /** What could not be locked, though it would be better. */
  readonly notes: readonly string[];
  /** Somebody keeps duplicates of the descriptors, and nobody inherits them: only unlocking gives it back. */
  readonly unlock: boolean;
}

export interface TakeOptions {
  readonly qemu: QemuLock;
  /** See `TakenRequest`. */
  readonly unlock: boolean;
  /** Locked already: what is open on a target is used, and stays open if the request fails. */
  readonly kept?: KeptDescriptors;
  /** QEMU's bytes may be those of the guest whose locks these are: they are neither tested nor told of. */
  readonly guestRuns?: boolean;
  /** Lock files stay where they are if the request fails: they are looked for again. */
  readonly keepFiles?: boolean;
}

/** In use, but maybe only by someone who asked in the same moment and is about to roll back. */
export class Collision extends HoldfastError {}

/** Closing, and only where nobody can have inherited a descriptor unlocking: a child that has one keeps its lock. */
export function giveBack(taken: readonly TakenRequest[]): void {
  for (const { descriptors, unlock } of taken.toReversed()) {
    for (const fd of descriptors) {
      if (unlock) unlockAll(fd);
      closeSync(fd);
    }
  }
  for (const { temporary } of taken) temporary.forEach(removeLockFileIfFree);
}

/** Locks all targets of a request, or none. Throws `IN_USE`, `MOVED`, `NOT_PERMITTED`, `DRIVER_FAILED`. */
export function takeRequest(
  request: LockRequest,
  targets: readonly LockTarget[],
  { qemu, unlock, kept, guestRuns = false, keepFiles = false }: TakeOptions,
): TakenRequest {
  const descriptors: number[] = [];
  const opened: number[] = [];
  const temporary: string[] = [];
  const locked: LockedFile[] = [];
  const shared: LockedFile[] = [];
  const notes: string[] = [];
  try {
    for (const target of targets) {
      const before = kept?.take(target);
      if (before !== undefined) requireLocked(request, target, before);
      const fd = before ?? takeTarget(request, target, guestRuns ? 'off' : qemu, notes);
      if (fd === undefined) continue;
      if (before === undefined) opened.push(fd);
      descriptors.push(fd);
      locked.push({ fd, target });
      if (isShared(request.resource, target)) shared.push({ fd, target });
      if (target.kind === 'lock file' && target.temporary) temporary.push(target.path);
    }
    if (
      qemu === 'off' &&
      !guestRuns &&
      locked.some(({ fd, target }) => target.kind === 'image' && qemuHasIt(fd))
    )
      notes.push(`a QEMU has ${request.resource.label} open, and was not asked (qemu_lock is off)`);
    return { request, descriptors, temporary, locked, shared, notes, unlock };
  } catch (error) {
    const files = keepFiles ? [] : temporary;
    giveBack([{ request, descriptors: opened, temporary: files, locked, shared, notes, unlock: false }]);
    throw lockError(request, error);
  }
}

/** What has its locks has them after this too; what lost them has them again, unless somebody else does. */
function requireLocked(request: LockRequest, target: LockTarget, fd: number): void {
  // QEMU's own lock is not asked: it is that of the guest which holds this.
  const conflict = takeMode(fd, request.mode, 'off');
  if (conflict !== undefined) throw inUse(request, conflict, target);
}

function takeTarget(
  request: LockRequest,
  target: LockTarget,
  qemu: QemuLock,
  notes: string[],
): number | undefined {
  if (target.kind === 'lock file') {
    const outcome = takeLockFileOf(request, target);
    if ('fd' in outcome) return outcome.fd;
    if ('conflict' in outcome) throw inUse(request, outcome.conflict, target);
    notes.push(
      `not locked in ${target.directory}, which libvirt's qemu-lockd.conf names (${outcome.denied}): a guest that libvirt locks there is kept out only by QEMU's own lock`,
    );
    return undefined;
  }
  const fd = openTarget(request, target);
  if (fd === undefined) return undefined;
  let conflict: ByteConflict | undefined;
  try {
    conflict = takeMode(fd, request.mode, qemu);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  if (conflict === undefined) return fd;
  closeSync(fd);
  throw inUse(request, conflict, target);
}

function takeLockFileOf(
  { mode }: LockRequest,
  { path, directory, own, spare }: LockTarget & { kind: 'lock file' },
): LockFileOutcome | { readonly denied: string } {
  try {
    if (own) privateDirectory(directory);
    else mkdirSync(directory, { recursive: true, mode: 0o700 });
    return takeLockFile(path, mode, own);
  } catch (error) {
    if (spare && isDenied(error)) return { denied: causeText(error) };
    throw error;
  }
}

function openTarget(request: LockRequest, target: LockTarget & { kind: 'image' }): number | undefined {
  try {
    return openImage(target.resource, request.mode);
  } catch (error) {
    if (target.spare && isHoldfastError(error, 'NOT_PERMITTED')) return undefined;
    throw error;
  }
}

function inUse(request: LockRequest, conflict: ByteConflict, target: LockTarget): HoldfastError {
  // Whoever removes a lock file that nobody holds locks it for that moment.
  const passing = conflict.side === 'mode' || (target.kind === 'lock file' && target.temporary);
  const kind = passing ? Collision : HoldfastError;
  return new kind('IN_USE', `${request.resource.label} is in use (you asked for it ${inWords(request)})`, {
    resource: request.resource.label,
    mode: request.mode,
    holders: [conflictHolder(conflict, target.path)],
  });
}

function inWords({ mode }: LockRequest): string {
  return { exclusive: 'exclusively', shared: 'shared', read: 'for reading', part: 'for a part of it' }[mode];
}

/** What went wrong while locking, as an error of ours; the system's error is the cause. */
function lockError({ resource }: LockRequest, error: unknown): unknown {
  if (isHoldfastError(error)) return error;
  const details = { resource: resource.label, cause: error };
  if (isDenied(error)) {
    return new HoldfastError(
      'NOT_PERMITTED',
      `${resource.label} cannot be locked: ${causeText(error)}`,
      details,
    );
  }
  return new HoldfastError(
    'DRIVER_FAILED',
    `${resource.label} cannot be locked: ${causeText(error)}`,
    details,
  );
}

function isDenied(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EACCES' || code === 'EPERM' || code === 'EROFS' || code === 'ELOOP';
}
