/** What would become of requests, without taking a lease. */
import type { LockRequest, MappedRequest, ProbeResult } from '../../driver/contract.js';
import { HoldfastError, isHoldfastError } from '../../errors.js';
import { joinedLockspaces } from './client-library.js';
import { inPlainWords } from './explain-result.js';
import { leasesOf } from './libvirt-lease-names.js';
import type { SanlockSettings } from './sanlock-settings.js';
import { requireFew, resourceHolders, wantedLeases } from './wanted-leases.js';

/** Whether each would be granted now, and who is in the way. */
export async function probeLeases(
  requests: readonly LockRequest[],
  settings: SanlockSettings,
): Promise<readonly ProbeResult[]> {
  const tooMany = errorOf(() => {
    requireFew(wantedLeases(requests, settings).length, requests[0]?.resource.label ?? '');
  });
  const joined = await inPlainWords(() => joinedLockspaces()).catch((error: unknown) => {
    if (isHoldfastError(error)) return error;
    throw error;
  });
  return Promise.all(
    requests.map(async ({ resource, mode }): Promise<ProbeResult> => {
      const { identity } = resource;
      if (joined instanceof HoldfastError) return { identity, free: false, holders: [], error: joined };
      try {
        const holders = await resourceHolders(resource, settings);
        const inTheWay = holders.filter(({ refuses }) => refuses?.includes(mode) !== false);
        const error = inTheWay.length > 0 ? undefined : tooMany;
        return {
          identity,
          free: inTheWay.length === 0 && error === undefined,
          holders: inTheWay,
          ...(error === undefined ? {} : { error }),
        };
      } catch (error) {
        if (!isHoldfastError(error)) throw error;
        return { identity, free: false, holders: [], error };
      }
    }),
  );
}

/** In which mode a request is really locked, or why sanlock has no lease for it. */
export function mapToLease({ resource, mode }: LockRequest, settings: SanlockSettings): MappedRequest {
  const found = leasesOf(resource, settings);
  if ('reason' in found) {
    const otherwise =
      'Name another driver for it as well (--driver sanlock,fcntl), or accept the danger with --allow-unlocked.';
    return { can: false, reason: found.reason, remedy: found.remedy ?? otherwise };
  }
  if (mode === 'exclusive' || mode === 'shared') return { can: true, mode };
  const note = `sanlock knows no mode '${mode}', so it is locked exclusively`;
  return { can: true, mode: 'exclusive', note };
}

function errorOf(work: () => void): HoldfastError | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (isHoldfastError(error)) return error;
    throw error;
  }
}
