/**
 * Looks at who holds what, and looks again when something changed.
 *
 * A look reads all of /proc, so between looks only cheap signs are read, twice a second: the kernel's table of locks,
 * whether somebody opened or closed the file (inotify), mounts and swap, what stands on a device, the records, and
 * whether the holders still live. What no sign tells (a lock that another host takes, one in a lock file) is looked for
 * every few seconds, everything every half minute. The disk itself is not kept open: that would be in umount's way.
 *
 * Our own looks open the disk too. What they cause repeats itself: a look after which other events are found than
 * after the same look before was not alone, and is made again.
 */
import { isHoldfastError } from '../errors.js';
import { FileEvents } from '../system/inotify.js';
import {
  folderSign,
  lockSign,
  pathSign,
  readLockTable,
  stackSign,
  TableChanges,
} from '../system/change-signs.js';
import { monotonicMs } from '../system/clock.js';
import { processStartTime } from '../system/process.js';
import type { Holder } from '../vocabulary.js';
import {
  lookAt,
  subjectsOf,
  withRunningGuests,
  type Lookout,
  type ResourceUse,
  type Subject,
} from './who.js';

/** How often the signs are read. */
const tickMs = 500;
/** How often those are looked at of whom no sign tells. */
const blindMs = 5_000;
/** How often everything is looked at, and planned again, whatever the signs say. */
const wholeMs = 30_000;
/** On a large host a look is dear: of an idle disk, looks take at most this part of one core. */
const idleShare = 1 / 250;
/** The same for a disk that somebody opens and closes all the time. */
const busyShare = 1 / 10;

/** The uses now, and then each time that they have changed; ends when the signal is aborted. Throws what the first look throws. */
export async function* watchHolders(
  lookout: Lookout,
  signal: AbortSignal,
): AsyncGenerator<readonly ResourceUse[], void> {
  const watch = new Watch(lookout, await subjectsOf(lookout));
  try {
    let shown = '';
    while (!signal.aborted) {
      const uses = await watch.look();
      const text = JSON.stringify(uses?.map(withoutEvidence));
      if (uses !== undefined && text !== shown) {
        shown = text;
        yield uses;
      }
      await pause(tickMs, signal);
    }
  } finally {
    watch.close();
  }
}

/** Numbers of descriptors change while nothing else does. */
function withoutEvidence(use: ResourceUse): unknown {
  return { ...use, holders: use.holders.map((holder): Holder => ({ ...holder, evidence: [] })) };
}

interface Watched {
  readonly subject: Subject;
  readonly watch: number | undefined;
  sign: string;
  use: ResourceUse | undefined;
  dirty: boolean;
}

class Watch {
  readonly #lookout: Lookout;
  readonly #events = openEvents();
  readonly #tables = new TableChanges();
  #watched: readonly Watched[] = [];
  #common = '';
  /** By what was looked at: the events that the look itself causes. */
  readonly #echoes = new Map<string, string>();
  #lookedAt = -Infinity;
  #blindAt = -Infinity;
  #wholeAt = -Infinity;
  #lookMs = 0;
  #wholeLookMs = 0;

  constructor(lookout: Lookout, subjects: readonly Subject[]) {
    this.#lookout = lookout;
    this.#observe(subjects);
  }

  /** All uses, or undefined where nothing had to be looked at. */
  async look(): Promise<readonly ResourceUse[] | undefined> {
    const now = monotonicMs();
    this.#readSigns();
    const whole = now - this.#wholeAt >= Math.max(wholeMs, this.#wholeLookMs / idleShare);
    if (now - this.#blindAt >= Math.max(blindMs, this.#lookMs / idleShare)) {
      this.#watched.filter(isBlind).forEach((one) => (one.dirty = true));
      this.#blindAt = now;
    }
    if (!whole && !this.#watched.some(({ dirty }) => dirty)) return undefined;
    if (now - this.#lookedAt < this.#lookMs / busyShare) return undefined;
    const cpuBefore = cpuMs();
    const first = this.#wholeAt === -Infinity;
    const planned = (whole && !first) || this.#watched.some(hasMoved);
    if (planned) await this.#planAgain();
    await this.#lookAtDirty(whole, planned);
    this.#lookedAt = monotonicMs();
    // The first one loads what it needs, and says nothing of the next.
    this.#lookMs = first ? 0 : cpuMs() - cpuBefore;
    if (whole) {
      this.#wholeAt = this.#lookedAt;
      this.#wholeLookMs = this.#lookMs;
    }
    return withRunningGuests(this.#watched.flatMap(({ use }) => use ?? []));
  }

  /** Marks what the signs say has changed. */
  #readSigns(): void {
    const changed = new Set((this.#events?.read() ?? []).map(({ watch }) => watch));
    const table = readLockTable() ?? '';
    const common = this.#lookout.folders.map(folderSign).join('\n');
    const all = this.#tables.changed() || common !== this.#common;
    this.#common = common;
    for (const one of this.#watched) {
      const sign = signOf(one.subject, table);
      if (all || sign !== one.sign || (one.watch !== undefined && changed.has(one.watch))) one.dirty = true;
      if (one.use?.holders.some(hasEnded) === true) one.dirty = true;
      one.sign = sign;
    }
  }

  async #planAgain(): Promise<void> {
    try {
      this.#observe(await subjectsOf(this.#lookout));
    } catch (error) {
      // Renamed or removed: whoever has it open still has it.
      if (!isHoldfastError(error)) throw error;
      for (const one of this.#watched) one.dirty = true;
    }
  }

  /** What is there already keeps its watch; a file that was replaced is another one. */
  #observe(subjects: readonly Subject[]): void {
    const table = readLockTable() ?? '';
    const before = new Map(this.#watched.map((one) => [one.subject.resource.identity, one]));
    this.#watched = subjects.map((subject) => {
      const { path, identity } = subject.resource;
      return {
        subject,
        watch: path === undefined ? undefined : this.#events?.watch(path),
        sign: signOf(subject, table),
        use: before.get(identity)?.use,
        dirty: true,
      };
    });
    const watches = new Set(this.#watched.map(({ watch }) => watch));
    for (const { watch } of before.values()) {
      if (watch !== undefined && !watches.has(watch)) this.#events?.unwatch(watch);
    }
  }

  async #lookAtDirty(whole: boolean, planned: boolean): Promise<void> {
    const chosen = this.#watched.filter(({ dirty }) => whole || dirty);
    const subjects = chosen.map(({ subject }) => subject);
    const uses = await lookAt(subjects, this.#lookout);
    const byIdentity = new Map(uses.map((use) => [use.resource.identity, use]));
    const events = this.#events?.read() ?? [];
    const echo = events.map(({ watch, mask }) => `${watch}:${mask}`).join(' ');
    const looked = subjects.map(({ resource }) => resource.identity).join(' ');
    const key = planned ? `planned ${looked}` : looked;
    // A plan reads headers where there are any; without, the look is as ever.
    const alone = [this.#echoes.get(key), this.#echoes.get(looked)].includes(echo);
    this.#echoes.set(key, echo);
    const disturbed = new Set(events.map(({ watch }) => watch));
    for (const one of this.#watched) {
      if (chosen.includes(one)) one.use = this.#said(one, byIdentity.get(one.subject.resource.identity));
      one.dirty = !alone && one.watch !== undefined && disturbed.has(one.watch);
    }
  }

  #said({ subject }: Watched, use: ResourceUse | undefined): ResourceUse | undefined {
    if (use === undefined || !hasMoved({ subject })) return use;
    return {
      ...use,
      notes: [...use.notes, `${subject.resource.label}: it does not stand at this path any longer`],
    };
  }

  close(): void {
    this.#events?.close();
    this.#tables.close();
  }
}

/** Of one core, of this whole process. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Without them changes show later: with the next look that the time brings. */
function openEvents(): FileEvents | undefined {
  try {
    return new FileEvents();
  } catch {
    return undefined;
  }
}

function signOf({ resource }: Subject, table: string): string {
  const { inode, path, device } = resource;
  return [
    inode === undefined ? '' : lockSign(table, inode.ino),
    path === undefined ? '' : pathSign(path),
    device === undefined ? '' : stackSign(device),
  ].join('\n');
}

/** Locks on it can come and go without a sign here: on other hosts, in lock files, at a server; or it may not be watched. */
function isBlind({ subject, watch }: Watched): boolean {
  const { storage, scope } = subject.resource;
  return storage !== 'file' || scope === 'cluster' || watch === undefined;
}

function hasMoved({ subject }: Pick<Watched, 'subject'>): boolean {
  const { path, inode } = subject.resource;
  if (path === undefined || inode === undefined) return false;
  return pathSign(path).split(':')[1] !== inode.ino;
}

function hasEnded({ pid, startTime }: Holder): boolean {
  return pid !== undefined && startTime !== undefined && processStartTime(pid) !== startTime;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}
