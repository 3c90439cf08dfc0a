import { HoldfastError } from '../errors.js';
import type { Holder, LockRequest } from '../vocabulary.js';

/** The one place where a refusal is worded. */
export function refusal(request: LockRequest, holders: readonly Holder[], cause?: unknown): HoldfastError {
  const { resource, mode } = request;
  const remedies = [...new Set(holders.flatMap(({ remedy }) => remedy ?? []))];
  return new HoldfastError('IN_USE', headline(request), {
    resource: resource.label,
    mode,
    holders,
    ...(remedies.length === 0 ? {} : { remedy: remedies.join('; ') }),
    ...(cause === undefined ? {} : { cause }),
  });
}

function headline({ resource, mode }: LockRequest): string {
  if (resource.kind === 'domain') return `guest "${resource.label}" is running already`;
  const asked = {
    exclusive: 'you asked for it exclusively',
    shared: 'you asked for it shared',
    read: 'you asked for it for reading',
    part: 'you asked for a part of it',
  }[mode];
  return `${resource.label} is in use (${asked})`;
}
