/** What no driver can lock because it is wrong, and not because of what drivers can do, is bad input. */
import { HoldfastError } from '../errors.js';
import type { Plan } from '../vocabulary.js';
import type { Assignment } from './driver-chain.js';

/** Throws the code that a driver gave for a mistake of whoever asks, with the place in the input. */
export function requireNoMistake({ unlockable }: Assignment, { items }: Plan): void {
  for (const { request, reason, remedy, code } of unlockable) {
    if (code === undefined) continue;
    const { label, identity } = request.resource;
    const place = items.find(({ resource }) => resource?.identity === identity)?.place;
    throw new HoldfastError(code, `${label}: ${reason}`, {
      resource: label,
      ...(remedy === undefined ? {} : { remedy }),
      ...(place === undefined ? {} : { place }),
    });
  }
}
