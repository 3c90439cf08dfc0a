/** Makes a refusal name who is in the way. */
import type { Driver } from '../driver/contract.js';
import type { HoldfastError } from '../errors.js';
import type { Holder, LockRequest } from '../vocabulary.js';
import type { LiveRecord } from './hold-record.js';
import { holdersOf } from './holders-of.js';
import { refusal } from './refusal.js';

/** The driver's refusal with its holders looked for; what does not name one of the requests stays as it is. */
export async function explainRefusal(
  error: HoldfastError,
  requests: readonly LockRequest[],
  records: readonly LiveRecord[],
): Promise<HoldfastError> {
  const request = requests.find(({ resource }) => resource.label === error.resource);
  if (request === undefined) return error;
  return refusal(request, await holdersInTheWay(request, error.holders, records), error);
}

/**
 * Whether nothing but locks of this host is in the way, and no process that has them: so looks a process that is just
 * ending, because the kernel takes its descriptors from it (exit_files, kernel/exit.c) before it gives up what they were
 * open on, and so do those of a pid namespace beside this one.
 */
export function isBackedByNobody({ holders }: HoldfastError): boolean {
  return (
    holders.length > 0 &&
    holders.every(
      // Of what the kernel itself does there is a program and no start; of a record there are both.
      ({ pid, program, host = thisHost, since }) =>
        pid === undefined && host === thisHost && (program === undefined || since !== undefined),
    )
  );
}

const thisHost = 'this host';

/** Who refuses a request: those who only use the resource beside them are not in the way. */
export async function holdersInTheWay(
  { resource, mode }: LockRequest,
  known: readonly Holder[],
  records: readonly LiveRecord[],
): Promise<readonly Holder[]> {
  const holders = await holdersOf(resource, known, records);
  const refusing = holders.filter(({ refuses }) => refuses === undefined || refuses.includes(mode));
  return refusing.length > 0 ? refusing : holders;
}

/** Who is in the way of a request by what a driver without `probe` says of its holders. */
export async function conflictingHolders(
  driver: Driver,
  { resource, mode }: LockRequest,
): Promise<readonly Holder[]> {
  const holders = await driver.holders(resource);
  return holders.filter((holder) => mode === 'exclusive' || holder.mode !== mode);
}
