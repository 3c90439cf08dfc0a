/** Takes the locks of one request, by all its names or by none. */
import { closeSync } from 'node:fs';
import { HoldfastError } from '../../errors.js';
import { rpcErrorCode, type RpcError } from '../../protocol/rpc-error.js';
import type { Conflict } from '../../system/ofd-lock.js';
import type { LockRequest } from '../../vocabulary.js';
import { conflictWith, holderOf, holdersAt, isLocked, openToLook, requirePlanned } from './kernel-locks.js';
import type { LockName } from './lock-names.js';
import { refusedCall, type LockSession, type ProcessLocks } from './process-locks.js';

const [EPERM, ENOENT, EACCES, ENOTDIR, EROFS] = [1, 2, 13, 20, 30];

/** Only in turn. Throws `IN_USE`, `MOVED`, `NOT_PERMITTED`, `DRIVER_FAILED`; then nothing of it is held. */
export async function takeRequest(
  locks: ProcessLocks,
  session: LockSession,
  request: LockRequest,
  names: readonly LockName[],
): Promise<void> {
  const shared = request.mode === 'shared';
  const taken: LockName[] = [];
  try {
    for (const name of names) {
      requireFree(request, name, shared);
      const error = await locks.acquire(session, name, shared);
      if (error !== undefined) throw answered(request, name, error);
      taken.push(name);
      requireLocked(request, name);
    }
  } catch (error) {
    // What cannot be given back now is at the next call; the first error is the one that matters.
    await locks.release(session, taken).catch(() => undefined);
    throw error;
  }
}

/**
 * Before virtlockd is asked, the kernel is: virtlockd tells its direct locks apart by the text of the path, so it
 * would grant a disk a second time by another path, and with the end of the second lock the kernel would drop both.
 */
function requireFree(request: LockRequest, name: LockName, shared: boolean): void {
  if (name.kind !== 'image') return;
  const conflict = lookAt(name, (fd) => {
    requirePlanned(fd, request.resource);
    // By its first name it is this request's own lock that would be found for the next ones.
    return name.name === (request.resource.realPath ?? request.resource.path)
      ? conflictWith(fd, shared)
      : undefined;
  });
  if (conflict !== undefined) throw inUse(request, name, conflict);
}

/** Afterwards what the plan saw has to be locked: virtlockd opens by path, maybe with another view of the files. */
function requireLocked(request: LockRequest, name: LockName): void {
  const locked = lookAt(name, (fd) => {
    if (name.kind === 'image') requirePlanned(fd, request.resource);
    return isLocked(fd);
  });
  // Undefined: it may not be opened. What was made for the lock can always be seen by whoever may use it.
  if (locked ?? name.kind === 'image') return;
  const { label } = request.resource;
  const message = `${label}: virtlockd says that it locked ${name.file}, but that is not locked`;
  throw new HoldfastError('DRIVER_FAILED', message, {
    resource: label,
    remedy: 'See whether virtlockd has other file systems mounted there (a container, systemd settings).',
  });
}

function lookAt<Result>(name: LockName, look: (fd: number) => Result): Result | undefined {
  const fd = openToLook(name);
  if (fd === undefined) return undefined;
  try {
    return look(fd);
  } finally {
    closeSync(fd);
  }
}

function inUse({ resource, mode }: LockRequest, name: LockName, conflict?: Conflict): HoldfastError {
  const words = mode === 'shared' ? 'shared' : 'exclusively';
  return new HoldfastError('IN_USE', `${resource.label} is in use (you asked for it ${words})`, {
    resource: resource.label,
    mode,
    holders: conflict === undefined ? holdersAt(name) : [holderOf(conflict, name)],
  });
}

/** What virtlockd's answer means for who wanted to lock this. */
function answered(request: LockRequest, name: LockName, error: RpcError): HoldfastError {
  const { label } = request.resource;
  if (error.code === rpcErrorCode.resourceBusy) return inUse(request, name);
  const details = {
    resource: label,
    cause: new Error(`libvirt error ${error.code}: ${error.message ?? ''}`),
  };
  if (error.code === rpcErrorCode.system) {
    const message = `${label} cannot be locked by virtlockd: ${error.message ?? ''}`;
    if ([EPERM, EACCES, EROFS].includes(error.int1))
      return new HoldfastError('NOT_PERMITTED', message, details);
    const gone = name.kind === 'image' && [ENOENT, ENOTDIR].includes(error.int1);
    return new HoldfastError(gone ? 'MOVED' : 'DRIVER_FAILED', message, details);
  }
  return refusedCall(`the lock of ${label}`, error);
}

/** Who would be in the way of a request now, and what `acquire` would complain of. */
export function probeRequest(request: LockRequest, names: readonly LockName[]): ReturnType<typeof holdersAt> {
  const shared = request.mode === 'shared';
  return names.flatMap((name) => {
    const conflict = lookAt(name, (fd) => conflictWith(fd, shared));
    return conflict === undefined ? [] : [holderOf(conflict, name)];
  });
}
