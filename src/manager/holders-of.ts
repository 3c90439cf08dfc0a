/** Who holds or uses a resource: what the records, the system and the drivers know, one holder for each hold or process. */
import { basename } from 'node:path';
import {
  describeProcess,
  findHolders,
  isUnseenWriter,
  processRemedy,
  refusedByMode,
} from '../holders/find-holders.js';
import type { FindOptions, FoundHolders } from '../holders/find-holders.js';
import { hostName } from '../system/host.js';
import { processStartTime } from '../system/process.js';
import { modes, unnamedCommand, type Holder, type Mode, type Owner, type Resource } from '../vocabulary.js';
import type { HoldRecord, LiveRecord } from './hold-record.js';
import { recordKeepers } from './record-keepers.js';

/** Words that say less than the record of the hold, which names its driver. */
const vague: readonly string[] = ['virtlockd or Holdfast', 'Holdfast'];

/**
 * Everyone who holds or uses a resource. `known`: what a driver said of a conflict; where nothing else is found,
 * that is all there is to say.
 */
export async function holdersOf(
  resource: Resource,
  known: readonly Holder[],
  records: readonly LiveRecord[],
): Promise<readonly Holder[]> {
  return (await lookForHolders(resource, known, records)).holders;
}

/** The same, and whether anything that could hold it was out of sight. */
export async function lookForHolders(
  resource: Resource,
  known: readonly Holder[],
  records: readonly LiveRecord[],
  options: FindOptions = {},
): Promise<FoundHolders> {
  // With all of them it is known whose lock a driver speaks of; who is to be ignored is left out at the end.
  const { ignorePids = [], ...all } = options;
  // Only who is refused, or asks, needs these: a start that succeeds does not load them.
  const { overlayWords } = await import('./overlays.js');
  const about = records.filter(
    ({ record }) =>
      record.requests.some((request) => request.resource.identity === resource.identity) &&
      !isToldByDaemon(record, records),
  );
  // They are in nobody's way: nothing of them is locked.
  const paused = options.everyone === true ? records.filter(({ record }) => isPaused(record, resource)) : [];
  // Asked at once, both look with one walk over /proc (system/open-files.ts).
  const [look, keepers] = await Promise.all([
    findHolders(resource, { readersUse: overlayWords, ...all }),
    recordKeepers([...about, ...paused, ...records.filter(({ record }) => isLeftToDaemon(record))]),
  ]);
  const { holders: seen, unseen, sawThisHost } = look;
  const explained = new Set<Holder>();
  const counts = (pid: number | undefined): boolean => pid === undefined || !ignorePids.includes(pid);
  const recorded = about.flatMap((live) => {
    const { record, path } = live;
    const kept = keepers.get(path) ?? [];
    // Without the daemon's own record only a lock says that it still has what was left to it.
    if (isLeftToDaemon(record) && seen.length + known.length === 0) return [];
    const left =
      record.keptForOwner === true ? records.find((one) => isLeftBy(one, record.owner)) : undefined;
    const pids = record.keptForOwner === true ? keptFor(record, keepers.get(left?.path ?? '')) : kept;
    const own = seen.filter(({ pid }) => pid !== undefined && [...kept, ...pids].includes(pid));
    own.forEach((holder) => explained.add(holder));
    const others = pids.filter(counts);
    if (pids.length > 0 && others.length === 0) return [];
    return [
      recordedHolder(
        { record: { ...left?.record, ...record }, path },
        resource,
        others,
        own.filter(({ pid }) => counts(pid)),
      ),
    ];
  });
  const suspended = paused.flatMap(({ record, path }) => {
    const kept = keepers.get(path) ?? [];
    const pids = record.keptForOwner === true ? keptFor(record) : kept;
    // Who keeps it watches whether the resource is changed meanwhile.
    const own = seen.filter(
      ({ pid, refuses }) => pid !== undefined && kept.includes(pid) && refuses?.length === 0,
    );
    own.forEach((holder) => explained.add(holder));
    return pids.length > 0 && pids.every(counts)
      ? [suspendedHolder({ record, path }, resource, pids, own)]
      : [];
  });
  const found = [
    ...recorded,
    ...seen.filter((holder) => !explained.has(holder) && counts(holder.pid)),
    ...suspended,
  ];
  // The lock that a driver knows of may well be that of a process that does not count.
  const uncounted = [...seen.map(({ pid }) => pid), ...[...keepers.values()].flat()].some(
    (pid) => !counts(pid),
  );
  // Who is only shown, a reader without a lock, does not explain a lock that a driver knows of.
  // Who is said by name to be on another host is none of those that were found here.
  const identified = known.length === 0 ? found : found.filter((holder) => !isUnseenWriter(holder));
  if (uncounted || identified.some(({ refuses }) => refuses?.length !== 0)) {
    const named = await withLibvirtGuests(found, resource);
    return { ...look, holders: [...named, ...known.filter(isElsewhere).map(fromAnotherHost)] };
  }
  const others = known.map((holder) => {
    if (isElsewhere(holder)) return fromAnotherHost(holder);
    const named = resource.scope === 'host' ? namedByLock(holder) : undefined;
    if (named !== undefined) return named;
    return sawThisHost ? holderElsewhere(holder, resource) : unseenHolder(holder, unseen);
  });
  return { ...look, holders: await withLibvirtGuests([...identified, ...others], resource) };
}

/** Whether it is the record of who leaves holding to a daemon, which has a record of that too. */
function isLeftToDaemon({ drivers }: HoldRecord): boolean {
  return drivers.length === 1 && drivers[0] === 'holdfastd';
}

function isSameOwner(one: Owner, other: Owner): boolean {
  return one.uuid === other.uuid && one.pid === other.pid && one.startTime === other.startTime;
}

function isToldByDaemon(record: HoldRecord, records: readonly LiveRecord[]): boolean {
  if (!isLeftToDaemon(record)) return false;
  return records.some(
    ({ record: other }) => other.keptForOwner === true && isSameOwner(other.owner, record.owner),
  );
}

function isLeftBy({ record }: LiveRecord, owner: Owner): boolean {
  return isLeftToDaemon(record) && isSameOwner(record.owner, owner);
}

/** The processes that a daemon keeps locks for: the owner's, or `heirs`, those that have them after it. */
function keptFor({ owner }: HoldRecord, heirs: readonly number[] = []): readonly number[] {
  return processStartTime(owner.pid) === owner.startTime ? [owner.pid] : heirs;
}

/** libvirt, or the lock daemon, is asked only where a daemon holds something for a guest that nothing else shows. */
async function withLibvirtGuests(found: readonly Holder[], resource: Resource): Promise<readonly Holder[]> {
  let holders = found;
  if (holders.some(({ program }) => program === 'holdfastd' || program === 'systemd')) {
    const { withGuestsOfDaemon } = await import('./locked-guests.js');
    holders = await withGuestsOfDaemon(holders);
  }
  if (!holders.some(({ program, guest }) => program === 'virtlockd' && guest === undefined)) return holders;
  const { nameLibvirtGuests } = await import('./libvirt-guests.js');
  return nameLibvirtGuests(holders, resource);
}

/**
 * A POSIX lock tells the process that has it (fcntl(2), F_GETLK), even where no process is seen to have the disk open:
 * virtlockd with a lockspace directory locks a file there. On storage that hosts share it may be another host's pid.
 */
function namedByLock(holder: Holder): Holder | undefined {
  const process = holder.pid === undefined ? undefined : describedHolder(holder.pid);
  if (process?.program === undefined) return undefined;
  const way = process.program === 'virtlockd' ? 'virtlockd' : 'a lock on byte 0, as virtlockd takes it';
  const through = holder.through.map((word) => (vague.includes(word) ? way : word));
  return { ...process, ...holder, host: 'this host', through };
}

const isElsewhere = ({ host }: Holder): boolean =>
  host !== undefined && host !== 'this host' && host !== hostName();

function fromAnotherHost(holder: Holder): Holder {
  return { ...holder, through: holder.through.map((way) => `${way}, held from another host`) };
}

/** A holder that no process here explains, though nothing of this host was out of sight. */
function holderElsewhere(holder: Holder, { scope }: Resource): Holder {
  const evidence = [...holder.evidence, 'no process on this host has it open'];
  // It names itself, and says that it is here: then it is where this process cannot look.
  if (holder.host !== undefined) {
    const where =
      'it says that it runs on this host: in a container that cannot be seen from here, or on a copy of this host that was made while it ran';
    return { ...holder, evidence: [...evidence, where] };
  }
  // The pid of a POSIX lock would be one of that host's.
  const { pid: _, ...unnamed } = holder;
  if (scope === 'host') return { ...unnamed, evidence };
  const remedy = 'look for it on the other hosts that reach the same storage, or wait for it';
  return fromAnotherHost({ ...unnamed, host: 'another host', evidence, remedy });
}

function unseenHolder(holder: Holder, unseen: string | undefined): Holder {
  if (unseen === undefined) return holder;
  const remedy = holder.remedy ?? `look again as root: not to be seen from here is ${unseen}`;
  return { ...holder, evidence: [...holder.evidence, `not seen: ${unseen}`], remedy };
}

/**
 * One hold. `pids`: the processes that keep it, of which `seen` were found with a lock on the resource. It is
 * called by the guest among them, else by the process that took it, else by any.
 */
function recordedHolder(
  { record, path }: Pick<LiveRecord, 'record' | 'path'>,
  resource: Resource,
  pids: readonly number[],
  seen: readonly Holder[],
): Holder {
  const { owner, command, since, drivers, requests } = record;
  const pid =
    seen.find(({ guest }) => guest !== undefined)?.pid ?? pids.find((one) => one === owner.pid) ?? pids[0];
  const process =
    seen.find((holder) => holder.pid === pid) ?? (pid === undefined ? undefined : describedHolder(pid));
  const mode = requests.find((request) => request.resource.identity === resource.identity)?.mode;
  const others = pids.filter((other) => other !== pid);
  const does = [...new Set(seen.flatMap((holder) => holder.does ?? []))];
  // The process that took the hold became the command, or stays beside it: either way the command is what users know.
  const own = pid === owner.pid || pid === undefined;
  const program = own && command?.[0] !== undefined ? basename(command[0]) : undefined;
  return {
    ...process,
    ...(program === undefined ? {} : { program }),
    ...nameOf(owner, program ?? process?.program),
    ...(pid === undefined ? {} : { pid }),
    host: 'this host',
    since,
    ...(mode === undefined ? {} : { mode, ...refusedByHold(mode, seen) }),
    ...(does.length === 0 ? {} : { does }),
    through: [
      `${record.keptForOwner === true ? 'holdfastd' : 'Holdfast'} (${drivers.join(', ')})`,
      ...otherWays(seen),
    ],
    evidence: [
      `record ${path}`,
      ...(others.length === 0 ? [] : [`kept by process ${others.join(', ')} too`]),
      ...seen.flatMap(({ evidence }) => evidence),
    ],
  };
}

/** The guest of a hold is paused, and its locks were given back: it is shown, and refuses nothing. */
function suspendedHolder(
  live: Pick<LiveRecord, 'record' | 'path'>,
  resource: Resource,
  pids: readonly number[],
  seen: readonly Holder[],
): Holder {
  const { remedy: _, ...holder } = recordedHolder(live, resource, pids, seen);
  const through = holder.through.map((way, index) =>
    index === 0 ? `${way}: suspended, nothing is locked` : way,
  );
  return { ...holder, refuses: [], through };
}

function isPaused({ suspended = [] }: HoldRecord, { identity }: Resource): boolean {
  return suspended.some((request) => request.resource.identity === identity);
}

/** The hold's own mode refuses, and QEMU's bytes and others that its processes have can refuse more. */
function refusedByHold(mode: Mode, seen: readonly Holder[]): Pick<Holder, 'refuses'> {
  const refused = new Set([...refusedByMode(mode), ...seen.flatMap(({ refuses }) => refuses ?? [])]);
  return { refuses: modes.filter((asked) => refused.has(asked)) };
}

function nameOf({ kind, name, uuid }: Owner, program: string | undefined): Partial<Holder> {
  if (kind === 'domain') return { guest: name, uuid };
  return name === program || name === unnamedCommand ? {} : { name };
}

function otherWays(seen: readonly Holder[]): readonly string[] {
  return [...new Set(seen.flatMap(({ through }) => through))].filter((way) => !vague.includes(way));
}

function describedHolder(pid: number): Partial<Holder> {
  const process = describeProcess(pid);
  if (process === undefined) return {};
  const { guest, program, startTime, user } = process;
  return {
    program,
    startTime,
    ...(guest === undefined ? {} : { guest }),
    ...(user === undefined ? {} : { user }),
    remedy: processRemedy(pid, process),
  };
}
