/**
 * Who owns a lease: its area says which hosts, this host's daemon says how they are and which process here it is.
 *
 * With the I/O timeout T of the owner's host, it begins to end its own holders 8T after its last renewal, and
 * 60 s after that (its watchdog has reset it) it counts as dead and anybody can take what it had.
 */
import { monotonicMs } from '../../system/clock.js';
import { processStartTime } from '../../system/process.js';
import { compatible, type Holder, type Mode, modes } from '../../vocabulary.js';
import { hostsOf, joinedLockspaces, readOwners } from './client-library.js';
import type { HostState, SanlockHost, SanlockResource } from './client-structs.js';
import { daemonStatus, hostStatus, type HostSeen } from './daemon-status.js';
import { leaseText } from './explain-result.js';
import type { LeaseName } from './libvirt-lease-names.js';
import { SanlockError } from './sanlock-error.js';

const failsAfterTimeouts = 8;
const watchdogS = 60;

/** How the owner's host is. `gone`: it has left, or come back as another generation: what it had is free. */
type OwnerState = HostState | 'gone';

/** A lease as the library takes it. */
export function asResource(lease: LeaseName, shared: boolean, lver?: bigint): SanlockResource {
  const { lockspace, name, path, offset } = lease;
  return { lockspace, name, disks: [{ path, offset }], shared, ...(lver === undefined ? {} : { lver }) };
}

/** Everyone who owns it, as far as that keeps somebody out. Throws `SanlockError` if its area cannot be read. */
export async function leaseHolders(lease: LeaseName): Promise<readonly Holder[]> {
  const { area, owners } = await readOwners(asResource(lease, false));
  if (owners.length === 0) return [];
  const mode: Mode = area.shared === true ? 'shared' : 'exclusive';
  const evidence = `the lease ${leaseText(lease)}`;
  const [joined, hosts, seen] = await Promise.all([
    joinedLockspaces(),
    hostsOf(lease.lockspace).catch((error: unknown) => {
      // EAGAIN: just joined, nobody was looked at yet. ENOSPC, ENOENT: not joined.
      if (error instanceof SanlockError) return [];
      throw error;
    }),
    hostStatus(lease.lockspace),
  ]);
  const own = joined.find(({ name, state }) => name === lease.lockspace && state === 'joined');
  const holders: Holder[] = [];
  for (const owner of owners) {
    const state = ownerState(owner, hosts);
    if (state === 'gone' || state === 'free') continue;
    const host = seen?.find(({ hostId }) => hostId === owner.hostId);
    const through = [`sanlock (host id ${owner.hostId}, generation ${owner.generation})`];
    if (own?.hostId === owner.hostId) holders.push(...(await here(lease, mode, through, [evidence])));
    else holders.push(elsewhere(mode, state, host, owner, through, [evidence]));
  }
  return holders;
}

function ownerState({ hostId, generation }: SanlockHost, hosts: readonly SanlockHost[]): OwnerState {
  const host = hosts.find((one) => one.hostId === hostId);
  if (host === undefined) return 'unknown';
  return host.generation === generation ? (host.state ?? 'unknown') : 'gone';
}

async function here(
  lease: LeaseName,
  mode: Mode,
  through: readonly string[],
  evidence: readonly string[],
): Promise<readonly Holder[]> {
  const status = await daemonStatus();
  const pids = (status?.leases ?? [])
    .filter(({ lockspace, name }) => lockspace === lease.lockspace && name === lease.name)
    .map(({ pid }) => pid);
  const known = { host: 'this host', mode, through, evidence, refuses: refusedBy(mode) };
  if (pids.length === 0) return [known];
  return [...new Set(pids)].map((pid) => {
    const name = status?.processes.find((one) => one.pid === pid)?.name;
    const startTime = processStartTime(pid);
    return {
      ...known,
      pid,
      ...(startTime === undefined ? {} : { startTime }),
      ...(name === undefined || name === '' ? {} : { name }),
    };
  });
}

function elsewhere(
  mode: Mode,
  state: HostState,
  host: HostSeen | undefined,
  { hostId }: SanlockHost,
  through: readonly string[],
  evidence: readonly string[],
): Holder {
  const known = {
    host: host === undefined || host.name === '' ? `host ${hostId} of the lockspace` : host.name,
    mode,
    through,
    evidence: [...evidence, `sanlock counts that host as ${inWords[state]}`],
    // The daemon would have to take it from a dead host, and does.
    refuses: state === 'dead' ? [] : refusedBy(mode),
  };
  if (state === 'live') return known;
  const does = [`is on a host that is ${inWords[state]}`];
  if (state === 'dead' || host === undefined) return { ...known, does };
  const last = host.lastLiveS > 0 ? host.lastLiveS : host.lastCheckS;
  const deadAtS = last + failsAfterTimeouts * host.ioTimeoutS + watchdogS;
  const leftS = Math.max(0, Math.ceil(deadAtS - monotonicMs() / 1000));
  return {
    ...known,
    does,
    remedy: `Unless it comes back, that host counts as dead in ${leftS} s, and its leases can be had: --wait=${leftS + 30}s`,
  };
}

const inWords: Readonly<Record<HostState, string>> = {
  unknown: 'not yet known to be alive',
  free: 'not in the lockspace',
  live: 'alive',
  fail: 'failing: it has not renewed in time',
  dead: 'dead',
};

/** sanlock knows two modes; all else is asked for exclusively. */
function refusedBy(held: Mode): readonly Mode[] {
  return modes.filter((asked) => !compatible(asked, held));
}
