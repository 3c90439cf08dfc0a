/**
 * What libvirt has locked through this daemon looks, from /proc, like a lock of the daemon and its keeper. Which guest it is
 * for, the daemon knows itself.
 */
import { HoldfastError } from '../../errors.js';
import { withLockedGuests, type Holder } from '../../index.js';
import type { LockAnswer } from './answer-schemas.js';

export type ListLocks = () => Promise<readonly LockAnswer[]>;

/** The same holders, with libvirt's guests in the place of the daemon and its keeper. */
export async function withGuests(
  holders: readonly Holder[],
  locks: ListLocks,
  own: readonly number[] = [process.pid, process.ppid],
): Promise<readonly Holder[]> {
  const isOwn = ({ pid, guest }: Holder): boolean =>
    guest === undefined && pid !== undefined && own.includes(pid);
  return withLockedGuests(holders, locks, isOwn);
}

/** A refusal with its holders named so. */
export async function withGuestsNamed(error: HoldfastError, locks: ListLocks): Promise<HoldfastError> {
  const holders = await withGuests(error.holders, locks);
  if (holders === error.holders) return error;
  const { resource, mode, cause } = error;
  const remedies = [...new Set(holders.flatMap(({ remedy }) => remedy ?? []))];
  return new HoldfastError(error.code, error.message, {
    ...(resource === undefined ? {} : { resource }),
    ...(mode === undefined ? {} : { mode }),
    holders,
    remedy: remedies.length === 0 ? error.remedy : remedies.join('; '),
    cause,
  });
}
