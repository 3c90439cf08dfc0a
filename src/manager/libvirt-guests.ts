/**
 * The guest that virtlockd holds a lock for, where no QEMU with the disk is to be seen: libvirt knows. It is asked only
 * then, through its own command, and not waited for long.
 */
import { statSync } from 'node:fs';
import { guestRemedy } from '../holders/find-holders.js';
import { runVirsh } from '../input/virsh.js';
import { inodeOf, sameInode } from '../system/inode.js';
import { userName } from '../system/user-name.js';
import type { Holder, Resource } from '../vocabulary.js';

/** libvirt answers in 30 ms; one that hangs must not keep a refusal from being told. */
const answerMsMax = 2000;

/** The same holders; virtlockd's with the guest that has the disk, where libvirt knows one. Does not throw. */
export async function nameLibvirtGuests(
  holders: readonly Holder[],
  resource: Resource,
): Promise<readonly Holder[]> {
  const daemon = holders.find(isDaemon);
  const libvirt = daemon === undefined ? undefined : libvirtOf(daemon);
  if (daemon === undefined || libvirt === undefined) return holders;
  const guests = await guestsWith(resource, `qemu:///${libvirt}`);
  if (guests === undefined) return holders;
  return holders.map((holder) => {
    if (holder !== daemon) return holder;
    const [guest, ...more] = guests;
    if (guest === undefined) {
      const remedy = `end what it was taken for: libvirt (qemu:///${libvirt}) has no running guest with this disk, so it may be left over from one`;
      return { ...holder, remedy };
    }
    const evidence = guests.map((name) => `virsh domstats --block (qemu:///${libvirt}): ${name} has it`);
    return {
      ...holder,
      ...(more.length === 0 ? { guest } : { name: `virtlockd for ${guests.join(' and ')}` }),
      evidence: [...holder.evidence, ...evidence],
      remedy: guestRemedy(guest, libvirt, holder.user),
    };
  });
}

function isDaemon({ program, guest }: Holder): boolean {
  return program === 'virtlockd' && guest === undefined;
}

/** root's virtlockd is the host's; another user's can be asked only by that user. */
function libvirtOf({ user }: Holder): 'system' | 'session' | undefined {
  if (user === userName(0)) return 'system';
  return user !== undefined && user === userName(process.geteuid?.() ?? 0) ? 'session' : undefined;
}

/** Running and paused guests that have it as a disk; undefined: libvirt did not say. */
async function guestsWith(resource: Resource, connect: string): Promise<readonly string[] | undefined> {
  try {
    const signal = AbortSignal.timeout(answerMsMax);
    const args = ['domstats', '--list-active', '--block', '--nowait'];
    const printed = await runVirsh({ connect }, args, { signal });
    return parseGuestDisks(printed)
      .filter(({ paths }) => paths.some((path) => isAt(resource, path)))
      .map(({ guest }) => guest);
  } catch {
    return undefined; // No virsh, no libvirt, or none that answers in time.
  }
}

/** What `virsh domstats --block` prints: `Domain: 'web1'`, and below it `  block.0.path=/path`. */
export function parseGuestDisks(
  text: string,
): { readonly guest: string; readonly paths: readonly string[] }[] {
  return text
    .split(/^Domain: '/m)
    .slice(1)
    .map((part) => ({
      guest: part.slice(0, Math.max(0, part.indexOf("'\n"))),
      paths: [...part.matchAll(/^ {2}block\.\d+\.path=(.*)$/gm)].map((found) => found[1] ?? ''),
    }));
}

function isAt({ inode, path, realPath, otherPaths = [] }: Resource, candidate: string): boolean {
  if ([path, realPath, ...otherPaths].includes(candidate)) return true;
  try {
    return inode !== undefined && sameInode(inodeOf(statSync(candidate, { bigint: true })), inode);
  } catch {
    return false;
  }
}
