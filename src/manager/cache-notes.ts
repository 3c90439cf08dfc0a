/**
 * What ending a guest in time does not reach: data that it has written and that this host still has in its memory. It gets to
 * the disk when the kernel sees fit, also after somebody on another host has the lock.
 */
import type { DriverAbout } from '../driver/contract.js';
import type { LockRequest, PlanItem } from '../vocabulary.js';

/** libvirt's names (formatdomain, `<driver cache=>`) of the modes that go past the host's memory. */
const unbuffered: readonly string[] = ['none', 'directsync'];

/** One for each disk that the XML says is buffered, or says nothing of, and that is locked against other hosts. */
export function cacheNotes(
  items: readonly PlanItem[],
  shares: readonly { readonly about: DriverAbout; readonly requests: readonly LockRequest[] }[],
): readonly string[] {
  const acrossHosts = new Set(
    shares
      .filter(({ about }) => about.reach === 'cluster')
      .flatMap(({ requests }) => requests.map(({ resource }) => resource.identity)),
  );
  return items
    .filter(
      ({ role, verdict, mode, place, resource }) =>
        role === 'disk' &&
        verdict === 'lock' &&
        (mode === 'exclusive' || mode === 'shared') &&
        // Of a path on a command line nobody has said how it is opened.
        place !== undefined &&
        resource?.path !== undefined &&
        acrossHosts.has(resource.identity),
    )
    .filter(({ cache }) => !unbuffered.includes(cache ?? 'default'))
    .map(
      ({ label, cache = 'default' }) =>
        `${label}: cache mode ${cache}: if the lock is lost, what is still in this host's memory can reach the disk after another host has it (cache='none' avoids that)`,
    );
}
