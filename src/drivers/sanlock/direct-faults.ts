/** What it means that `sanlock direct` could not read or write an area. */
import { constants } from 'node:os';
import type { LeaseArea } from '../../driver/contract.js';
import { HoldfastError } from '../../errors.js';
import type { AreaForm } from './area-form.js';
import { sanlockResult } from './sanlock-error.js';

const { leaderVersion, leaderSectorSize, leaderChecksum } = sanlockResult;
const damaged: readonly number[] = [leaderVersion, leaderSectorSize, leaderChecksum];

/** `result`: of `read_leader`, an errno or one of sanlock's own. */
export function readFault(result: number, text: string, path: string, offset: number): HoldfastError {
  const fault = storageFault(result, path, 'read');
  if (fault !== undefined) return fault;
  if (damaged.includes(result)) {
    const message = `what is in ${path} at ${offset} is damaged, or made by another sanlock than this one`;
    return new HoldfastError('BAD_DATA', message, {
      resource: path,
      remedy: `If nobody needs it any more, make it anew: holdfast lease init --force LOCKSPACE:NAME:${path}:${offset}`,
    });
  }
  const said = text.trim().split('\n', 1)[0];
  return new HoldfastError(
    'DRIVER_FAILED',
    `sanlock could not read ${path} at ${offset}: ${said || 'no answer'}`,
    {
      resource: path,
      remedy:
        'See the words of sanlock, and whether the storage can be read: dd if=FILE iflag=direct bs=4096 count=1.',
    },
  );
}

/** What the storage itself refuses: an errno, or that it does not answer (-202). */
function storageFault(result: number, path: string, verb: 'read' | 'write'): HoldfastError | undefined {
  const name = Object.entries(constants.errno).find(([, value]) => value === -result)?.[0];
  const details = { resource: path };
  switch (name) {
    case 'EACCES':
    case 'EPERM':
      return new HoldfastError('NOT_PERMITTED', `${path} may not be read and written by this user`, {
        ...details,
        remedy:
          'Run as root, or as a user who may write it: sanlock opens a lease for writing even to read it.',
      });
    case 'EROFS':
      return new HoldfastError('NOT_PERMITTED', `${path} is on a file system that is mounted read-only`, {
        ...details,
        remedy: 'Mount it for writing: sanlock opens a lease for writing even to read it.',
      });
    case 'ENOENT':
    case 'ENODEV':
      return new HoldfastError('NO_SUCH_FILE', `there is no ${path}`, details);
    case 'ENOSPC':
      return new HoldfastError('DRIVER_FAILED', `there is no room for it in ${path}`, {
        ...details,
        remedy: 'Make room in that file system, or on that device.',
      });
    default:
      return name === 'EIO' || result === sanlockResult.aioTimeout
        ? new HoldfastError('DRIVER_FAILED', `the storage of ${path} fails: it could not ${verb}`, {
            ...details,
            remedy: "See the kernel's log (dmesg), and whether the storage answers.",
            retryable: true,
          })
        : undefined;
  }
}

/** `result`: of `init`. */
export function initFault(
  result: number,
  text: string,
  { lockspace, name, path, offset }: LeaseArea,
  { sectorBytes }: AreaForm,
): HoldfastError {
  const said = text.trim().replaceAll('\n', '; ');
  const message = `sanlock could not make ${name ?? lockspace} in ${path} at ${offset}: ${said || 'no answer'}`;
  return (
    storageFault(result, path, 'write') ??
    new HoldfastError('DRIVER_FAILED', message, {
      resource: path,
      remedy:
        result === -constants.errno.EINVAL
          ? `See that the storage has sectors of ${sectorBytes} bytes and allows direct I/O (tmpfs does not).`
          : 'See the words of sanlock, and whether the storage can be written.',
    })
  );
}
