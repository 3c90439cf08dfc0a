/**
 * What is given back while a guest is paused, and how it is known afterwards to be as the guest left it.
 *
 * The kernel does not tell who had a lock in between. What it tells is whether a file was changed: its change time, which
 * no program can set, its modification time and its size. So who changed it is always noticed. Who only had it for
 * writing is noticed where he is a Holdfast: whoever locks an image for writing and finds that somebody sleeps on it (a
 * read lock far behind the end of any image) sets its modification time. A lock file is another one after somebody had it,
 * because the last holder removes it.
 *
 * Invariant: the evidence is taken under the locks before they are given back, and compared under the locks after they
 * were taken again; in between its inode stays open, so that its number is nobody else's.
 */
import { closeSync, constants, fchownSync, fstatSync, futimesSync, openSync } from 'node:fs';
import { HoldfastError } from '../../errors.js';
import { tryLock } from '../../system/ofd-lock.js';
import type { LockRequest, Owner } from '../../vocabulary.js';
import { qemuHasIt } from './byte-locks.js';
import { asleepByte } from './byte-table.js';
import { removeLockFileIfFree } from './lock-file.js';
import type { LockTarget } from './lock-targets.js';
import { openImage } from './open-image.js';
import type { LockedFile, TakenRequest } from './take-request.js';

/** Times of a file are those of the kernel's clock tick, 10 ms at most; where they have no fractions, of a second or two. */
const tickMs = 20;
const wholeSecondMs = 2_000;
const nsPerSecond = 1_000_000_000n;
const nsPerMs = 1_000_000n;

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;

interface SleepingFile {
  readonly target: LockTarget;
  /** Open for reading, on what was locked. */
  readonly fd: number;
  readonly evidence: string;
}

export interface SleepingRequest {
  readonly request: LockRequest;
  readonly files: readonly SleepingFile[];
  /** As it was locked (TakenRequest). */
  readonly unlock: boolean;
  /** A QEMU has the image open: the guest that is paused. */
  readonly guestRuns: boolean;
}

/**
 * Notes how all stands that is locked, and stays locked still. `leaveRecords`: leaves those of its owner again.
 * Throws `UNSUPPORTED` where nothing could tell afterwards whether it is as it was left, and what opening it throws.
 */
export async function fallAsleep(
  taken: readonly TakenRequest[],
  owner: Owner,
  leaveRecords: () => Promise<void>,
): Promise<readonly SleepingRequest[]> {
  for (const { request } of taken) requireEvidence(request);
  if (taken.some(({ shared }) => shared.length > 0)) {
    // Its removal changes the file, and what is not locked has no holder.
    const { removeOwn } = await import('./holder-records.js');
    for (const one of taken) removeOwn(one, owner);
  }
  const asleep: SleepingRequest[] = [];
  try {
    for (const one of taken) asleep.push(await noteFiles(one));
    return asleep;
  } catch (error) {
    for (const { files } of asleep) closeAll(files);
    await leaveRecords();
    throw error;
  }
}

function requireEvidence({ resource: { storage, lease, label }, mode }: LockRequest): void {
  const reason = withoutEvidence(storage, mode, lease?.path !== undefined);
  if (reason === undefined) return;
  throw new HoldfastError('UNSUPPORTED', `${label} cannot be suspended: ${reason}`, {
    resource: label,
    remedy: 'Leave it held while the guest is paused, or release it.',
  });
}

function withoutEvidence(
  storage: LockRequest['resource']['storage'],
  mode: LockRequest['mode'],
  isLeaseFile: boolean,
): string | undefined {
  if (mode === 'shared' || mode === 'part')
    return 'others may write it meanwhile, and nothing tells them from those who may not';
  if (storage === 'block') return 'nothing tells whether a block device was written meanwhile';
  if (storage === 'directory') return 'nothing tells whether anything in a directory was changed meanwhile';
  return isLeaseFile ? 'nothing tells whether somebody else had the file of a lease meanwhile' : undefined;
}

async function noteFiles({ request, locked, unlock }: TakenRequest): Promise<SleepingRequest> {
  const files: SleepingFile[] = [];
  try {
    for (const { fd: held, target } of locked) {
      if (target.kind === 'image') await untilLater(held);
      const fd = openAgain(request, target);
      files.push({ target, fd, evidence: evidenceOf(fd, target) });
      if (target.kind === 'image') tryLock(fd, 'read', asleepByte);
    }
    const guestRuns = locked.some(({ fd, target }) => target.kind === 'image' && qemuHasIt(fd));
    return { request, files, unlock, guestRuns };
  } catch (error) {
    closeAll(files);
    throw error;
  }
}

function openAgain({ mode }: LockRequest, target: LockTarget): number {
  if (target.kind === 'image') return openImage(target.resource, mode, false);
  return openSync(target.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
}

/** A change in the same tick as the last one would leave the same time. */
async function untilLater(fd: number): Promise<void> {
  const { ctimeNs } = fstatSync(fd, { bigint: true });
  const stepMs = ctimeNs % nsPerSecond === 0n ? wholeSecondMs : tickMs;
  const leftMs = Number(ctimeNs / nsPerMs) + stepMs - Date.now();
  // A server's clock may be ahead of ours: one step is enough then as well.
  if (leftMs > 0) await new Promise((resolve) => setTimeout(resolve, Math.min(leftMs, stepMs)));
}

function evidenceOf(fd: number, { kind }: LockTarget): string {
  const { dev, ino, size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
  return kind === 'image' ? [dev, ino, size, mtimeNs, ctimeNs].join(' ') : [dev, ino].join(' ');
}

/** Whether all that is locked again is as it was noted. */
export function isAsLeft({ files }: SleepingRequest, { locked }: TakenRequest): boolean {
  return (
    files.length === locked.length &&
    files.every(({ target: { path }, evidence }) =>
      locked.some(({ fd, target }) => target.path === path && evidenceOf(fd, target) === evidence),
    )
  );
}

/** What is locked again needs no evidence any more. */
export function wakeUp(asleep: readonly SleepingRequest[]): void {
  for (const { files } of asleep) closeAll(files);
}

/** It is not to be locked again. */
export function forgetAsleep(asleep: readonly SleepingRequest[]): void {
  wakeUp(asleep);
  for (const { target } of asleep.flatMap(({ files }) => files)) {
    if (target.kind === 'lock file' && target.temporary) removeLockFileIfFree(target.path);
  }
}

function closeAll(files: readonly SleepingFile[]): void {
  for (const { fd } of files) closeSync(fd);
}

/** For whoever sleeps on a file that was locked for writing. What the system refuses here spoils no lock. */
export function markChanged({ fd }: LockedFile): void {
  try {
    futimesSync(fd, fstatSync(fd).atime, new Date());
  } catch {
    try {
      fchownSync(fd, -1, -1);
    } catch {
      // Another user's, on storage that hosts share: if it is written, that is noticed.
    }
  }
}
