/**
 * The state that travels along with a migration: sanlock's own string, as `sanlock client inquire` prints it and libvirt
 * sends it. Of each lease `LOCKSPACE:NAME:PATH:OFFSET:VERSION`, or `SH` instead of a version where it is shared.
 */
import { HoldfastError } from '../../errors.js';
import { parseState } from './client-library.js';
import { nameBytesMax } from './client-structs.js';
import { leaseText } from './explain-result.js';
import type { LeaseName } from './libvirt-lease-names.js';
import { SanlockError } from './sanlock-error.js';
import { leaseKey, type WantedLease } from './wanted-leases.js';

/** Throws `UNSUPPORTED` for what the string cannot have: a blank in a path, or a name of 48 bytes, behind which sanlock 3.8.5 puts a stray byte. */
export function stateText(
  leases: readonly { readonly lease: LeaseName; readonly shared: boolean }[],
  versions: ReadonlyMap<string, bigint>,
): string {
  return leases
    .map(({ lease, shared }) => {
      const { lockspace, name, path } = lease;
      if (/\s/.test(path) || [lockspace, name].some((one) => Buffer.byteLength(one) >= nameBytesMax)) {
        const message = `sanlock has no words for the lease ${leaseKey(lease)} in ${path}: a blank in its path, or a name of ${nameBytesMax} bytes`;
        throw new HoldfastError('UNSUPPORTED', message, {
          remedy: 'Keep leases in paths without blanks, and give them shorter names.',
        });
      }
      return `${leaseText(lease)}:${shared ? 'SH' : String(versions.get(leaseKey(lease)) ?? 0n)}`;
    })
    .join(' ');
}

/**
 * In which versions leases have to be, by `LOCKSPACE:NAME`; undefined: in any. A shared one can be in any.
 * @throws HoldfastError BAD_DATA if the state is none, or says nothing of a lease that is wanted
 */
export function versionsInState(
  state: string | undefined,
  wanted: readonly WantedLease[],
): ReadonlyMap<string, bigint> | undefined {
  if (state === undefined) return undefined;
  const found = new Map(readState(state).map((one) => [`${one.lockspace}:${one.name}`, one]));
  const versions = new Map<string, bigint>();
  for (const { lease } of wanted) {
    const said = found.get(leaseKey(lease));
    if (said === undefined) {
      throw new HoldfastError(
        'BAD_DATA',
        `the state that came along says nothing of the lease ${leaseKey(lease)}`,
      );
    }
    if (said.shared !== true && said.lver !== undefined) versions.set(leaseKey(lease), said.lver);
  }
  return versions;
}

function readState(state: string): ReturnType<typeof parseState> {
  try {
    return state === '' ? [] : parseState(state);
  } catch (error) {
    if (!(error instanceof SanlockError)) throw error;
    throw new HoldfastError('BAD_DATA', 'the state that came along is none of sanlock', { cause: error });
  }
}
