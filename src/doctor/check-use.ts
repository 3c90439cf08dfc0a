/** Who uses the disks without a lock: mounted, swap, a device standing on it, or open for writing. */
import { findUnlockedUse } from '../holders/find-holders.js';
import type { Holder } from '../vocabulary.js';
import { isUnlockedGuest } from './check-guests.js';
import { finding, type Finding } from './finding.js';
import type { Disk, Host } from './host.js';

export async function checkUse(host: Host, disks: readonly Disk[]): Promise<Finding[]> {
  if (disks.length === 0) return [];
  const found = await findUnlockedUse(disks.map(({ resource }) => resource));
  const findings = await Promise.all(
    disks.map((disk) => findingsOf(host, disk, found.get(disk.resource.identity) ?? [])),
  );
  return findings.flat();
}

async function findingsOf(
  host: Host,
  { label, resource, seen }: Disk,
  holders: readonly Holder[],
): Promise<Finding[]> {
  if (holders.length > 0) {
    // Said of the guest already, and of what is wrong with it.
    const said = await Promise.all(holders.map(({ pid }) => isUnlockedGuest(host, pid, resource)));
    return holders.filter((_, index) => said[index] !== true).map((holder) => useFinding(label, holder));
  }
  if (seen.storage === 'directory') return [];
  const seenAll = host.isRoot ? '' : ', as far as you may see';
  return [finding('disk-unused', { subject: label, what: `nobody writes to it without a lock${seenAll}` })];
}

export function useFinding(
  subject: string,
  { guest, program, pid, through, evidence, remedy }: Holder,
): Finding {
  const how = through.join(', ');
  const more = remedy === undefined ? {} : { remedy };
  if (pid === undefined) return finding('used-by-kernel', { subject, what: how, evidence, ...more });
  const who = guest === undefined ? (program ?? 'a program') : `guest "${guest}"`;
  return finding('written-without-lock', {
    subject,
    what: `${who} (pid ${pid}): ${how}`,
    evidence,
    ...more,
  });
}
