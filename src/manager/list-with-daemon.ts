/** What the lock daemon keeps, among the holds of this host: its own holds, and the locks of libvirt's guests. */
import { isNobodyListening } from '../daemon-client/api-request.js';
import type { DaemonClient } from '../daemon-client/daemon-client.js';
import type { DaemonHold, DaemonLock } from '../daemon-client/daemon-answers.js';
import { hostName, machineId } from '../system/host.js';
import type { ListedHold, ListedProcess } from './list-holds.js';

type Describe = (pid: number) => ListedProcess;

/** A hold; or what a guest of libvirt has locked, which has no id and is libvirt's to change. */
export type ListedAnywhere = Omit<ListedHold, 'id'> & {
  readonly id?: string;
  /** The socket of the daemon that keeps it. */
  readonly daemon?: string;
  /** Of a daemon's hold: `suspended` while its guest is paused, and nothing is locked. */
  readonly state?: DaemonHold['state'];
  /** Of a daemon's hold: why it can no longer be guaranteed. */
  readonly lost?: string;
};

/**
 * `own`, which `manager.holds()` gave, and what a daemon keeps, each hold once; oldest first.
 * Throws what the daemon's client throws.
 */
export async function listWithDaemon(
  own: readonly ListedHold[],
  daemon: DaemonClient,
): Promise<readonly ListedAnywhere[]> {
  // Whoever lists nothing (a start of `run`) does not load what describes processes.
  const { describeProcess } = await import('../holders/find-holders.js');
  const describe: Describe = (pid) => ({ pid, program: describeProcess(pid)?.program ?? '?' });
  const [holds, locks] = await Promise.all([daemon.holds(), daemon.locks()]);
  const others = own.filter((one) => !holds.some((hold) => isOf(one, hold)));
  const kept = holds.map((hold) => listedHold(hold, own, describe));
  const all = [
    ...others,
    ...[...kept, ...lockingGuests(locks, describe)].map((one) => ({ ...one, daemon: daemon.socket })),
  ];
  return all.toSorted((a, b) => a.since.localeCompare(b.since));
}

/**
 * `own`, where the daemon could not be asked, which threw `why`. If neither it nor its keeper runs, nothing is locked of what
 * was left to it.
 */
export function listWithoutDaemon(own: readonly ListedHold[], why: unknown): readonly ListedAnywhere[] {
  if (!isNobodyListening(why)) return own;
  const lost = 'holdfastd does not run: nothing of it is locked';
  return own.map((hold) => (hold.drivers.every((name) => name === 'holdfastd') ? { ...hold, lost } : hold));
}

/** The daemon's record of a hold, or that of whoever left a hold to the daemon. */
function isOf({ id, owner, drivers }: ListedHold, hold: DaemonHold): boolean {
  if (id === hold.id) return true;
  const { uuid, pid, startTime } = hold.owner;
  const same = owner.uuid === uuid && owner.pid === pid && owner.startTime === startTime;
  return same && drivers.includes('holdfastd');
}

function listedHold(hold: DaemonHold, own: readonly ListedHold[], describe: Describe): ListedAnywhere {
  const { id, owner, since, drivers, requests, tokens, state, lost, ownerEnded } = hold;
  const left = own.find((one) => one.id !== id && isOf(one, hold));
  return {
    id,
    owner,
    ...(left?.command === undefined ? {} : { command: left.command }),
    since,
    drivers,
    resources: requests.map(({ resource: { label, identity }, mode }) => {
      const token = tokens[identity];
      return { label, identity, mode, ...(token === undefined ? {} : { token }) };
    }),
    processes: left?.processes ?? (ownerEnded ? [] : [describe(owner.pid)]),
    state,
    ...(lost === undefined ? {} : { lost }),
  };
}

/** One entry for each guest, with all that libvirt has locked for it. */
function lockingGuests(locks: readonly DaemonLock[], describe: Describe): readonly ListedAnywhere[] {
  const here = { host: hostName(), hostId: machineId() };
  const guests = new Map<string, ListedAnywhere>();
  for (const { lockspace, name, mode, since, owners } of locks) {
    const label = lockspace === '' ? name : `${name} in ${lockspace}`;
    for (const { name: guest, uuid, id, pid, startTime } of owners) {
      const key = `${uuid} ${pid} ${startTime}`;
      const known = guests.get(key);
      guests.set(key, {
        owner: { kind: 'domain', name: guest, uuid, id, pid, startTime, ...here },
        since: known !== undefined && known.since < since ? known.since : since,
        drivers: ['libvirt'],
        resources: [...(known?.resources ?? []), { label, identity: label, mode }],
        processes: [describe(pid)],
      });
    }
  }
  return [...guests.values()];
}
