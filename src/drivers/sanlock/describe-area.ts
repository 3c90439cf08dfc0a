/** What an area is, who has it, and whether they live: that is what this host's daemon says, of the lockspaces that it has joined. */
import type { FoundLeaseArea, LeaseArea, LeaseHost } from '../../driver/contract.js';
import { hostsOf } from './client-library.js';
import type { SanlockHost } from './client-structs.js';
import { hostStatus } from './daemon-status.js';
import { dumpAreas, type AreaHead, type AreaOwner } from './sanlock-direct.js';

export async function describeArea(path: string, offset: number, head: AreaHead): Promise<FoundLeaseArea> {
  const { lockspace, bytes, sectorBytes, kind, version } = head;
  const listed = (await dumpAreas(path, offset, bytes)).filter(
    (one) => one.lockspace === lockspace && (one.version === undefined) === (kind === 'lockspace'),
  );
  const seen = await hostsAsSeen(lockspace);
  const hosts =
    kind === 'lockspace'
      ? listed.filter(({ timestamp }) => timestamp !== 0).map((one) => hostOf(one, seen, { name: one.name }))
      : listed.filter((one) => one.offset === offset).flatMap((one) => ownersOf(one, seen));
  const area = { lockspace, path, offset, bytes, sectorBytes, hosts };
  return kind === 'lockspace' ? area : { ...area, name: head.name, version };
}

function ownersOf(area: AreaOwner, seen: SeenHosts): readonly LeaseHost[] {
  const shared = area.shared.map((one) => hostOf(one, seen, { mode: 'shared' }));
  // The last owner stays there by name; who has given it back has no timestamp any more.
  if (area.timestamp === 0 || area.hostId === 0) return shared;
  return [hostOf(area, seen, { mode: 'exclusive' }), ...shared];
}

interface SeenHosts {
  /** Empty: the daemon does not run, or has not joined the lockspace. */
  readonly hosts: readonly SanlockHost[];
  readonly names: ReadonlyMap<number, string>;
}

async function hostsAsSeen(lockspace: string): Promise<SeenHosts> {
  const hosts = await hostsOf(lockspace).catch(() => []);
  const status = hosts.length === 0 ? [] : ((await hostStatus(lockspace)) ?? []);
  return { hosts, names: new Map(status.map(({ hostId, name }) => [hostId, name])) };
}

const states = { live: 'alive', fail: 'failing', dead: 'dead', free: 'gone', unknown: 'unknown' } as const;

function hostOf(
  { hostId, generation }: { readonly hostId: number; readonly generation: string },
  { hosts, names }: SeenHosts,
  known: Pick<LeaseHost, 'mode' | 'name'>,
): LeaseHost {
  const host = hosts.find((one) => one.hostId === hostId);
  const state =
    host === undefined
      ? 'unknown'
      : String(host.generation) === generation
        ? states[host.state ?? 'unknown']
        : 'gone';
  const name = names.get(hostId);
  return { hostId, generation, state, ...(name === undefined || name === '' ? {} : { name }), ...known };
}

export function areaInWords({ lockspace, name }: LeaseArea): string {
  return name === undefined ? `the lockspace ${lockspace}` : `the lease ${lockspace}:${name}`;
}

export function hostInWords({ name, hostId, generation, state }: LeaseHost): string {
  return `${name ?? `host ${hostId}`} (host id ${hostId}, generation ${generation}, ${state})`;
}
