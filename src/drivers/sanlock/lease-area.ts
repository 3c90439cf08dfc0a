/**
 * Makes and reads the areas that leases and lockspaces are kept in, through `sanlock direct`: that needs no daemon. Whether
 * a host lives is what this host's daemon says, of the lockspaces that it has joined.
 *
 * Nothing that may be somebody's is written over: no lease that has an owner who is not known to be dead, no lockspace with such a
 * host in it, and without `force` no data of anything else.
 */
import { unlinkSync } from 'node:fs';
import type {
  FoundLeaseArea,
  LeaseArea,
  LeaseHost,
  LeasePlace,
  MadeLeaseArea,
  MakeLeaseOptions,
} from '../../driver/contract.js';
import { HoldfastError } from '../../errors.js';
import { hostsOf } from './client-library.js';
import type { SanlockHost } from './client-structs.js';
import { hostStatus } from './daemon-status.js';
import { hasData, lookAtFile, makeRoom } from './lease-file.js';
import { leaseNameBytesMax, leasePathBytesMax } from './libvirt-lease-names.js';
import {
  dumpAreas,
  escapedPath,
  initArea,
  readHead,
  type AreaHead,
  type AreaOwner,
} from './sanlock-direct.js';

/** With sectors of 512 bytes, which every file has; the only size before sanlock 3.7. */
const mebibyte = 1024 * 1024;
/** As many leases as a lockspace of libvirt's may have in one volume; a whole disk of some TiB would be read for hours. */
const scannedBytesMax = 1024 * mebibyte;

/**
 * Makes a lease or a lockspace where nobody has anything; a file that is missing is made, one that is too short is made longer.
 * @throws HoldfastError IN_USE, USAGE, NO_SUCH_FILE, NOT_A_DISK, NOT_PERMITTED, DRIVER_FAILED
 */
export async function makeLeaseArea(area: LeaseArea, { force }: MakeLeaseOptions): Promise<MadeLeaseArea> {
  requireProper(area);
  const { path, offset } = area;
  const stats = lookAtFile(path);
  const head = stats === undefined ? undefined : await readHead(path, offset);
  if (head !== undefined) {
    const found = await describe(path, offset, head);
    if (!force && isSame(found, area)) return { area: found, made: false };
    refuseOthers(found, area, force);
  } else if (stats !== undefined && !force && hasData(path, offset)) {
    throw new HoldfastError('IN_USE', `${path} has other data at ${offset}, which is no lease of sanlock's`, {
      resource: path,
      retryable: false,
      remedy:
        'Name a file that is empty or missing, or say --force if what is there is of no use to anybody.',
    });
  }
  const isNew = stats === undefined;
  makeRoom(path, offset, stats);
  try {
    const words = [area.lockspace, area.name ?? '0', escapedPath(path), String(offset)].join(':');
    await initArea(area.name === undefined ? 'lockspace' : 'lease', words);
    const written = await readHead(path, offset);
    if (written === undefined) {
      throw new HoldfastError('DRIVER_FAILED', `${path} does not have what was written to it`, {
        resource: path,
      });
    }
    return { area: await describe(path, offset, written), made: true };
  } catch (error) {
    if (isNew) unlinkSync(path);
    throw error;
  }
}

/**
 * What there is, in the order of offsets; with an offset, no more than what is there.
 * @throws HoldfastError NO_SUCH_FILE, NOT_READABLE, NOT_A_DISK, DRIVER_FAILED
 */
export async function readLeaseAreas({ path, offset }: LeasePlace): Promise<readonly FoundLeaseArea[]> {
  const stats = lookAtFile(path);
  if (stats === undefined) throw new HoldfastError('NO_SUCH_FILE', `there is no ${path}`, { resource: path });
  if (offset !== undefined) {
    const head = await readHead(path, offset);
    return head === undefined ? [] : [await describe(path, offset, head)];
  }
  const first = await readHead(path, 0);
  const listed = await dumpAreas(path, 0, scannedBytesMax);
  // Nobody is in a lockspace that is new: then it is not listed.
  const offsets = new Set(first === undefined ? [] : [0]);
  for (const { offset: at, version } of listed) if (version !== undefined) offsets.add(at);
  for (const { offset: at, version } of listed) {
    if (version === undefined) offsets.add(at - (at % mebibyte));
  }
  const found: FoundLeaseArea[] = [];
  for (const at of [...offsets].toSorted((a, b) => a - b)) {
    const head = await readHead(path, at);
    if (head !== undefined) found.push(await describe(path, at, head));
  }
  return found;
}

function requireProper({ lockspace, name, path, offset }: LeaseArea): void {
  const wrong = (what: string): HoldfastError => new HoldfastError('USAGE', what, { resource: path });
  for (const text of [lockspace, ...(name === undefined ? [] : [name])]) {
    // sanlock itself, its status and its logs tell names apart by colons and blanks.
    if (text === '' || /[:\s\0]/.test(text)) {
      throw wrong(
        `"${text}" cannot be the name of a lockspace or lease: it has no colon and no blank, and is not empty`,
      );
    }
    if (Buffer.byteLength(text) > leaseNameBytesMax) {
      throw wrong(`"${text}" has more than ${leaseNameBytesMax} bytes`);
    }
  }
  if (Buffer.byteLength(path) >= leasePathBytesMax)
    throw wrong(`the path has ${leasePathBytesMax} bytes or more`);
  if (offset % mebibyte !== 0) throw wrong(`the offset ${offset} is no multiple of ${mebibyte} (1 MiB)`);
}

function isSame(found: FoundLeaseArea, { lockspace, name }: LeaseArea): boolean {
  return found.lockspace === lockspace && found.name === name;
}

function refuseOthers(found: FoundLeaseArea, wanted: LeaseArea, force: boolean): void {
  const what = areaInWords(found);
  const details = { resource: found.path, retryable: false };
  if (!force) {
    throw new HoldfastError(
      'IN_USE',
      `${found.path} has ${what} at ${found.offset}, not ${areaInWords(wanted)}`,
      {
        ...details,
        remedy: 'Name another place, or say --force if nobody needs that one any more.',
      },
    );
  }
  const holders = found.hosts.filter(({ state }) => state !== 'dead' && state !== 'gone');
  if (holders.length === 0) return;
  const who = holders.map(hostInWords).join(', ');
  const message =
    found.name === undefined
      ? `${what} in ${found.path} has hosts in it: ${who}`
      : `${what} in ${found.path} is held by ${who}`;
  const unknown = holders.some(({ state }) => state === 'unknown');
  throw new HoldfastError('IN_USE', message, {
    ...details,
    remedy: unknown
      ? `Whether they live cannot be seen, because this host has not joined the lockspace ${found.lockspace}: join it, and ask again after some minutes.`
      : 'Let its holder end, or its hosts leave it (sanlock client rem_lockspace).',
  });
}

function areaInWords({ lockspace, name }: LeaseArea): string {
  return name === undefined ? `the lockspace ${lockspace}` : `the lease ${lockspace}:${name}`;
}

function hostInWords({ name, hostId, generation, state }: LeaseHost): string {
  return `${name ?? `host ${hostId}`} (host id ${hostId}, generation ${generation}, ${state})`;
}

async function describe(path: string, offset: number, head: AreaHead): Promise<FoundLeaseArea> {
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
