/** Who holds or uses what a guest is made of: looks, and takes nothing. `watch-holders.ts` looks again and again. */
import { isHoldfastError, causeText, type HoldfastError } from '../errors.js';
import { lookAtPath } from '../plan/look-at-path.js';
import { makePlan, type PlanOptions } from '../plan/make-plan.js';
import type {
  DiskDescription,
  GuestDescription,
  Holder,
  Plan,
  PlanItem,
  Resource,
  Role,
} from '../vocabulary.js';
import type { DriverChain, StartedDriver } from './driver-chain.js';
import type { LiveRecord } from './hold-record.js';
import { lookForHolders } from './holders-of.js';
import { requireNoMistake } from './require-no-mistake.js';
import { runningGuest } from './running-guest.js';

/** How it stands with one thing that was asked about. */
export interface ResourceUse {
  /** Where nobody can tell what it is (a volume that libvirt did not resolve), its identity begins with `unknown:`. */
  readonly resource: Resource;
  readonly role: Role;
  /**
   * - `in use`: there are holders.
   * - `free`: nobody, and nothing that could hold or use it was out of sight.
   * - `not fully seen`: nobody was found, but `unseen` was out of sight.
   */
  readonly state: 'in use' | 'free' | 'not fully seen';
  /** Guests first. This process itself is never among them. */
  readonly holders: readonly Holder[];
  /** What could not be seen, and how to see it; there may be more holders than those found. */
  readonly unseen?: string;
  /** What else is worth knowing of it. */
  readonly notes: readonly string[];
  /** It leads to no disk, so nothing was looked at; only with `LookOptions.reportMissing`. */
  readonly error?: HoldfastError;
}

export interface LookOptions {
  /** Gives up. */
  readonly signal?: AbortSignal;
  /**
   * A disk named by its path that is not there, or is no disk, is a use with an `error`, and the others are looked at.
   * Not for `watch`. Default: an error of the call.
   */
  readonly reportMissing?: boolean;
}

/** Something to look at. */
export interface Subject {
  readonly resource: Resource;
  readonly role: Role;
  readonly notes: readonly string[];
  /** It cannot be looked at: why. */
  readonly obscure?: string;
}

/** What is looked at, and what a look needs. */
export interface Lookout {
  readonly guest: GuestDescription;
  readonly planOptions: PlanOptions;
  readonly chain: DriverChain;
  /** Records of holds that live, read anew. */
  readonly records: () => Promise<readonly LiveRecord[]>;
  /** Folders in which something comes or goes with a hold. */
  readonly folders: readonly string[];
}

/** Plans and looks once. Throws what `subjectsOf` throws. */
export async function look(
  lookout: Lookout,
  { reportMissing = false }: LookOptions = {},
): Promise<readonly ResourceUse[]> {
  const { guest } = lookout;
  const missing = reportMissing ? guest.disks.flatMap((disk) => missingUse(disk) ?? []) : [];
  const absent = missing.map(({ disk }) => disk);
  const there = {
    ...lookout,
    guest: { ...guest, disks: guest.disks.filter((disk) => !absent.includes(disk)) },
  };
  const uses = withRunningGuests(await lookAt(await subjectsOf(there), there));
  return [...missing.map(({ use }) => use), ...uses];
}

/** A disk from a command line, not from XML, at whose path there is none. */
function missingUse(disk: DiskDescription): { disk: DiskDescription; use: ResourceUse } | undefined {
  const { label, source, place, role, optional } = disk;
  if (place !== undefined || optional || source.type !== 'file') return undefined;
  try {
    lookAtPath(source.path, 'disk', {}, true);
    return undefined;
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    const resource = unknownDisk(label);
    return {
      disk,
      use: { resource, role, state: 'not fully seen', holders: [], unseen: error.message, notes: [], error },
    };
  }
}

/**
 * What there is to look at, each identity once, in the order of the plan. Ancestors are among them only to find
 * whoever would refuse a request for the part.
 * Throws `NO_SUCH_FILE`, `NOT_A_DISK`, `RELATIVE_PATH`, and what else cannot be planned at all.
 */
export async function subjectsOf({ guest, planOptions, chain }: Lookout): Promise<readonly Subject[]> {
  // All is wanted, whatever `run` would say of it.
  const plan = await makePlan(guest, { ...planOptions, allowUnlocked: false, identityOnly: true });
  await requireLockable(plan, chain);
  const subjects = new Map<string, Subject>();
  for (const item of plan.items) {
    const subject = subjectOf(item, guest);
    if (subject === undefined) continue;
    const { identity, path } = subject.resource;
    const known = subjects.get(identity);
    if (known === undefined || (known.role === 'ancestor' && subject.role !== 'ancestor')) {
      subjects.set(identity, subject);
    } else if (path !== undefined && path !== known.resource.path) {
      const otherPaths = [...new Set([...(known.resource.otherPaths ?? []), path])];
      subjects.set(identity, { ...known, resource: { ...known.resource, otherPaths } });
    }
  }
  return withNotes([...subjects.values()], plan.notes);
}

/** What `run` refuses because it is wrong is wrong here too: nobody can have a lease that cannot be kept where it says. */
async function requireLockable(plan: Plan, chain: DriverChain): Promise<void> {
  const drivers = await startedDrivers(chain);
  if (drivers.unseen === undefined) requireNoMistake(await chain.assign(plan.requests), plan);
}

function subjectOf(item: PlanItem, guest: GuestDescription): Subject | undefined {
  const { role, label, verdict, resource, reason } = item;
  if (resource !== undefined) return { resource, role, notes: [] };
  if (role === 'ancestor') return undefined;
  const behindSocket = guest.disks.some((disk) => disk.label === label && disk.source.type === 'vhostuser');
  // What else is skipped is an empty drive, or nothing that anybody could hold.
  if (verdict !== 'refuse' && role !== 'base' && !behindSocket) return undefined;
  return { resource: unknownDisk(label), role, notes: [], obscure: reason ?? 'nobody can tell where it is' };
}

function unknownDisk(label: string): Resource {
  return { kind: 'disk', identity: `unknown:${label}`, label, storage: 'name', scope: 'host' };
}

/** Each note at what it speaks of, or else at the first. */
function withNotes(subjects: readonly Subject[], notes: readonly string[]): readonly Subject[] {
  return subjects.map((subject, index) => {
    const own = notes.filter((note) => {
      const spoken = subjects.findIndex(({ resource }) => note.startsWith(resource.label));
      return Math.max(spoken, 0) === index;
    });
    return own.length === 0 ? subject : { ...subject, notes: own };
  });
}

/** Looks at all of them. Does not throw for what can only not be seen. */
export async function lookAt(
  subjects: readonly Subject[],
  lookout: Lookout,
): Promise<readonly ResourceUse[]> {
  const drivers = await startedDrivers(lookout.chain);
  const records = await recordsOf(lookout);
  // At once, so that they share what looks through all processes (system/open-files.ts).
  const uses = await Promise.all(subjects.map((subject) => useOf(subject, drivers, records)));
  return uses.filter(({ role, state }) => role !== 'ancestor' || state === 'in use');
}

interface Seen<Result> {
  readonly found: readonly Result[];
  readonly unseen?: string;
}

/** An engine that does not answer hides what it knows; a driver that is not there, or set up wrongly, is the caller's to mend. */
async function startedDrivers(chain: DriverChain): Promise<Seen<StartedDriver>> {
  try {
    return { found: await chain.started() };
  } catch (error) {
    if (!isHoldfastError(error, 'DRIVER_FAILED')) throw error;
    return { found: [], unseen: `what the lock drivers know (${error.message})` };
  }
}

async function recordsOf({ records }: Lookout): Promise<Seen<LiveRecord>> {
  try {
    return { found: await records() };
  } catch (error) {
    if (!isHoldfastError(error, 'NOT_PERMITTED')) throw error;
    return { found: [], unseen: `the records of holds (${error.message})` };
  }
}

async function useOf(
  { resource, role, notes, obscure }: Subject,
  drivers: Seen<StartedDriver>,
  records: Seen<LiveRecord>,
): Promise<ResourceUse> {
  if (obscure !== undefined) {
    return {
      resource,
      role,
      state: 'not fully seen',
      holders: [],
      unseen: `who uses it (${obscure})`,
      notes,
    };
  }
  const known = await knownToDrivers(resource, drivers.found);
  const look = await lookForHolders(resource, known.found, records.found, {
    everyone: true,
    ignorePids: [process.pid],
  });
  const running = resource.kind === 'domain' ? runningGuest(resource) : { holders: [] };
  const all = [...look.holders, ...running.holders.filter((guest) => !hasPid(look.holders, guest.pid))];
  const holders = all.filter((holder) => role !== 'ancestor' || refusesParts(holder));
  const parts = [
    look.unseen,
    running.unseen,
    drivers.unseen,
    known.unseen,
    records.unseen,
    ...otherUsers(resource),
  ].filter((part) => part !== undefined);
  const unseen = parts.length === 0 ? undefined : parts.map(withAdvice).join(', and ');
  return {
    resource,
    role,
    state: holders.length > 0 ? 'in use' : unseen === undefined ? 'free' : 'not fully seen',
    holders,
    ...(unseen === undefined ? {} : { unseen }),
    notes: [...notes, ...(look.standsOn ?? [])],
  };
}

/** A use of the whole or of another part is none of this part; only who keeps out every user of a part is. */
function refusesParts({ refuses, mode, pid }: Holder): boolean {
  if (refuses !== undefined && !refuses.includes('part')) return false;
  return pid !== undefined && mode !== undefined && mode !== 'part';
}

async function knownToDrivers(resource: Resource, drivers: readonly StartedDriver[]): Promise<Seen<Holder>> {
  const found: Holder[] = [];
  const failures: string[] = [];
  for (const { about, driver } of drivers) {
    const mapped = driver.mapRequest?.({ resource, mode: 'exclusive' });
    if (mapped?.can === false) continue;
    try {
      found.push(...(await driver.holders(resource)));
    } catch (error) {
      failures.push(`what the driver ${about.name} knows (${causeText(error)})`);
    }
  }
  return failures.length === 0 ? { found } : { found, unseen: failures.join(', and ') };
}

/** Locks without a file of their own stand in a directory of each user. */
function otherUsers({ storage }: Resource): readonly string[] {
  const elsewhere = storage === 'name' || storage === 'directory' || storage === 'block';
  return elsewhere && process.geteuid?.() !== 0 ? ['the locks of other users (look as root)'] : [];
}

function withAdvice(unseen: string): string {
  return unseen.startsWith('programs on other hosts') && !unseen.includes('(')
    ? `${unseen} (look there too)`
    : unseen;
}

/** A pid of another host is another process. */
function hasPid(holders: readonly Holder[], pid: number | undefined): boolean {
  return holders.some((holder) => holder.pid === pid && holder.host === 'this host');
}

/** A guest that is found on one of its disks runs, whatever lock there is on its uuid. */
export function withRunningGuests(uses: readonly ResourceUse[]): readonly ResourceUse[] {
  return uses.map((use) => {
    if (use.resource.kind !== 'domain' || use.state === 'in use') return use;
    const uuid = use.resource.identity.slice('domain:'.length);
    const holders = uses.flatMap((one) => one.holders);
    const guest = holders.find((holder) => holder.uuid === uuid) ?? holders.find(isNamesake(use.resource));
    if (guest === undefined) return use;
    const how = guest.uuid === uuid ? 'it runs' : 'a guest of this name runs';
    const seen = { ...guest, through: [`${how}: its disks are in use`], refuses: [] };
    return { ...use, state: 'in use', holders: [seen] };
  });
}

/** A QEMU that was started by hand has a name, and mostly no uuid. Another uuid is another guest. */
function isNamesake({ label }: Resource): (holder: Holder) => boolean {
  return ({ guest, uuid }) => uuid === undefined && guest === label;
}
