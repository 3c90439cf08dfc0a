/** What a refusal of sanlock means for who wanted a lease, and what to do. */
import { HoldfastError } from '../../errors.js';
import type { LeaseName } from './libvirt-lease-names.js';
import { SanlockError, sanlockResult } from './sanlock-error.js';

/** As sanlock's commands take a place: a colon in a path has a backslash. */
export function leaseText({ lockspace, name, path, offset }: LeaseName): string {
  return `${lockspace}:${name}:${path.replaceAll(':', '\\:')}:${offset}`;
}

/** For a shell. */
export function quoted(text: string): string {
  return /^[\w./:@%+,=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

const inUseResults: readonly number[] = [
  sanlockResult.acquireIdLive,
  sanlockResult.acquireOwned,
  sanlockResult.acquireOther,
  sanlockResult.acquireSharedRetry,
  sanlockResult.acquireOwnedRetry,
  sanlockResult.ballotLost,
];

/** Whether somebody else has the lease, or is just taking or giving it back. */
export function isInUse(error: SanlockError): boolean {
  return inUseResults.includes(error.result) || ['EEXIST', 'EAGAIN', 'EBUSY'].includes(error.code);
}

/** No connection can be made. */
export function unreachable(error: SanlockError): HoldfastError {
  if (error.code === 'EACCES' || error.code === 'EPERM') {
    return new HoldfastError('NOT_PERMITTED', `sanlock's socket may not be used: ${error.message}`, {
      cause: error,
      remedy:
        'Run as root, or as a user of the group that sanlock runs as (uname and gname in sanlock.conf).',
    });
  }
  const where = process.env['SANLOCK_RUN_DIR'] ?? '/run/sanlock';
  return new HoldfastError('DRIVER_FAILED', `the sanlock daemon does not answer in ${where}`, {
    cause: error,
    remedy: 'Start it: systemctl start sanlock (and wdmd, which watches it).',
    retryable: ['ECONNREFUSED', 'ENOENT', 'EPIPE'].includes(error.code),
  });
}

/** Whether the daemon could not be asked, or ended while it was. */
export function isUnreachable(error: SanlockError): boolean {
  return ['ECONNREFUSED', 'EPIPE', 'ECONNRESET', 'EACCES', 'ENOTCONN'].includes(error.code);
}

/** An error of one lease that is nobody's lock. `label`: what it was taken for, as the user wrote it. */
export function leaseFault(error: SanlockError, lease: LeaseName, label: string): HoldfastError {
  const name = `${lease.lockspace}:${lease.name}`;
  const place = `${lease.path}${lease.offset === 0 ? '' : ` at ${lease.offset}`}`;
  const details = { resource: label, cause: error };
  const made = `holdfast lease init ${quoted(leaseText(lease))}`;
  switch (error.code) {
    case 'ENOSPC':
      return notJoined(lease, label, error);
    case 'ENOENT':
      return new HoldfastError('NO_LEASE', `${label}: there is no ${lease.path} for its lease`, {
        ...details,
        remedy: `Check the path and whether its file system is mounted here, or make the lease: ${made}`,
      });
    case 'EMSGSIZE':
    case 'leaderMagic':
      return new HoldfastError('NO_LEASE', `${label}: in ${place} there is no lease; it was never made`, {
        ...details,
        remedy: `Make it, if nothing else is kept there: ${made}`,
      });
    case 'leaderResource':
    case 'leaderLockspace':
      return new HoldfastError('NO_LEASE', `${label}: in ${place} there is another lease than ${name}`, {
        ...details,
        remedy: `See which one: holdfast lease show ${quoted(`${lease.path.replaceAll(':', '\\:')}:${lease.offset}`)}`,
      });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new HoldfastError(
        'NOT_PERMITTED',
        `${label}: the sanlock daemon may not write ${lease.path}: ${error.message}`,
        {
          ...details,
          remedy:
            'The lease is written by the daemon, as the user of its configuration: chown it to that one.',
        },
      );
    case 'aioTimeout':
    case 'leaderRead':
    case 'leaderWrite':
    case 'EIO':
      return new HoldfastError('DRIVER_FAILED', `${label}: the storage of its lease, ${place}, fails`, {
        ...details,
        remedy: "See the kernel's log and sanlock's (/var/log/sanlock.log).",
        retryable: true,
      });
    default:
      return isUnreachable(error)
        ? unreachable(error)
        : new HoldfastError(
            'DRIVER_FAILED',
            `${label}: sanlock refuses its lease ${name}: ${error.message}`,
            {
              ...details,
              remedy: "See sanlock's log (/var/log/sanlock.log).",
            },
          );
  }
}

/** The lockspace of a lease is not one of this host. */
export function notJoined({ lockspace }: LeaseName, label: string, cause?: unknown): HoldfastError {
  return new HoldfastError('NOT_JOINED', `${label}: this host has not joined the lockspace ${lockspace}`, {
    resource: label,
    remedy: `Join it, with a number that no other host has: sanlock client add_lockspace -s ${quoted(lockspace)}:HOST_ID:PATH:OFFSET (20 to 200 s), or let Holdfast do it: lockspaces in [driver.sanlock]. See first whether somebody else should (oVirt, lvmlockd, libvirt).`,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** What the library throws, in Holdfast's words. */
export async function inPlainWords<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof SanlockError)) throw error;
    if (isUnreachable(error) || error.code === 'ENOENT') throw unreachable(error);
    throw new HoldfastError('DRIVER_FAILED', `sanlock: ${error.message}`, { cause: error });
  }
}
