/**
 * What libvirt has locked through this daemon looks, from /proc, like a lock of the daemon and its keeper. Which guest it is
 * for, the daemon knows itself.
 */
import { realpathSync } from 'node:fs';
import { HoldfastError } from '../../errors.js';
import type { Holder } from '../../index.js';
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
  const ours = holders.filter(isOwn);
  if (ours.length === 0) return holders;
  const paths = new Set(ours.flatMap(({ evidence }) => evidence.flatMap((line) => openPath(line) ?? [])));
  const found = (await locks()).filter((lock) => paths.has(pathOf(lock)) || paths.has(realPathOf(lock)));
  if (found.length === 0) return holders;
  const evidence = ours.flatMap((holder) => holder.evidence);
  return [
    ...found.flatMap((lock) => guestsOf(lock, evidence)),
    ...holders.filter((holder) => !isOwn(holder)),
  ];
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

function guestsOf({ owners, mode, since }: LockAnswer, evidence: readonly string[]): Holder[] {
  return owners.map(({ name, uuid, pid, startTime }) => ({
    guest: name,
    uuid,
    pid,
    startTime,
    host: 'this host',
    since,
    mode,
    refuses: mode === 'shared' ? ['exclusive', 'read', 'part'] : ['exclusive', 'shared', 'read', 'part'],
    through: ['libvirt, through holdfastd'],
    evidence,
    remedy: `virsh shutdown ${name}, or wait for it`,
  }));
}

/** `/proc/12/fd/3 -> /a/b.img (read-write)`. */
function openPath(evidence: string): string | undefined {
  return /^\/proc\/\d+\/fd\/\d+ -> (?<path>.*) \([a-z-]+\)$/.exec(evidence)?.groups?.['path'];
}

function pathOf({ lockspace, name }: LockAnswer): string {
  return lockspace === '' ? name : `${lockspace}/${name}`;
}

function realPathOf(lock: LockAnswer): string {
  try {
    return realpathSync(pathOf(lock));
  } catch {
    return pathOf(lock);
  }
}
