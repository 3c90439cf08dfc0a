/** The versions of leases: each that takes one moves its version on, so it tells whether somebody has had it. */
import { readResource } from './client-library.js';
import { inPlainWords } from './explain-result.js';
import type { LeasePart } from './lease-group.js';
import { asResource } from './lease-holders.js';
import { leaseKey, type WantedLease } from './wanted-leases.js';

/** `LOCKSPACE:NAME:VERSION` of the first lease of each; a version of what others take as well says nothing. */
export function tokensOf(
  parts: readonly LeasePart[],
  versions: ReadonlyMap<string, bigint>,
): Readonly<Record<string, string>> {
  const tokens: Record<string, string> = {};
  for (const { request, leases } of parts) {
    const [lease] = leases;
    const version = lease === undefined ? undefined : versions.get(leaseKey(lease));
    if (lease === undefined || version === undefined || request.mode === 'shared') continue;
    tokens[request.resource.identity] = `${leaseKey(lease)}:${version}`;
  }
  return tokens;
}

/** Of leases that are held, by `LOCKSPACE:NAME`; of those that are shared, what it is at this moment. */
export async function versionsOf(
  wanted: readonly Pick<WantedLease, 'lease'>[],
): Promise<ReadonlyMap<string, bigint>> {
  const read = async ({ lease }: Pick<WantedLease, 'lease'>): Promise<[string, bigint]> => {
    const { lver } = await inPlainWords(() => readResource(asResource(lease, false)));
    return [leaseKey(lease), lver];
  };
  return new Map(await Promise.all(wanted.map(read)));
}
