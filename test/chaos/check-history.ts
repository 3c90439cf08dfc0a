/**
 * The verdict on a history: pure functions, each one rule.
 *
 * A host that is frozen as a whole cannot stop its commands, and they go on for a moment when it thaws: no lock service can
 * help that, only a storage that checks tokens. So what a process does *after it was frozen* counts neither as an overlap nor as a
 * lost update where tokens are not checked, but how late it ended is told (`late`), and where they are checked nothing is
 * excused.
 */
import type { Cell, HeldDisk, HeldMode, HistoryEvent } from './history.js';

export interface Violation {
  readonly rule:
    | 'overlap'
    | 'lost update'
    | 'lost member'
    | 'ran without its lock'
    | 'stale token accepted'
    | 'token given twice'
    | 'outlived its lease'
    | 'never released';
  readonly at: number;
  readonly what: string;
}

/** A command of a host that was frozen while somebody else took its lock. */
export interface Late {
  readonly run: string;
  readonly disk: string;
  /** From the thaw until it was last seen. */
  readonly afterThawMs: number;
}

export interface Verdict {
  readonly violations: readonly Violation[];
  readonly late: readonly Late[];
  readonly figures: {
    readonly grants: number;
    readonly writes: number;
    /** Writes that the storage refused for their token. */
    readonly refused: number;
    /** From the cut of a host until the last of its commands was seen, of those that lasted as long as a lease. */
    readonly cutToGoneMs: readonly number[];
  };
}

/** @param ttlMs of the leases */
export function checkHistory(events: readonly HistoryEvent[], ttlMs: number): Verdict {
  const processes = processesOf(events);
  const freezes = pausesOf(events, 'frozen', 'thawed');
  const overlapping = overlaps(processes, freezes);
  const cuts = outlived(events, processes, freezes, ttlMs);
  const writes = events.filter((event) => event.kind === 'write');
  return {
    violations: [
      ...overlapping.violations,
      ...lostUpdates(events, processes, freezes),
      ...lostMembers(events, processes, freezes),
      ...ranWithout(events, freezes),
      ...staleTokens(events),
      ...tokensTwice(events),
      ...cuts.violations,
      ...neverReleased(events),
    ].toSorted((a, b) => a.at - b.at),
    late: overlapping.late,
    figures: {
      grants: new Set([...processes.values()].map(({ run }) => run)).size,
      writes: writes.length,
      refused: writes.filter(({ accepted }) => !accepted).length,
      cutToGoneMs: cuts.goneMs,
    },
  };
}

/** How long a command may take from its grant until it has told the storage that it is there. */
const startMsMax = 5_000;

/** One process of a run, from when it was known to run under its locks until it was last seen. */
interface Seen {
  readonly process: string;
  readonly run: string;
  readonly host: string;
  readonly disks: readonly HeldDisk[];
  readonly from: number;
  to: number;
}

interface Pause {
  readonly host: string;
  readonly from: number;
  /** Infinity: it lasted. */
  readonly to: number;
}

function processesOf(events: readonly HistoryEvent[]): ReadonlyMap<string, Seen> {
  const seen = new Map<string, Seen>();
  for (const event of events) {
    if (event.kind === 'enter') {
      const { process, run, host, disks, at } = event;
      seen.set(process, { process, run, host, disks, from: at, to: at });
    } else if (event.kind === 'alive') {
      const one = seen.get(event.process);
      if (one !== undefined) one.to = Math.max(one.to, event.at);
    }
  }
  return seen;
}

function pausesOf(
  events: readonly HistoryEvent[],
  begin: 'frozen' | 'cut',
  end: 'thawed' | 'joined',
): readonly Pause[] {
  return events.flatMap((event, index) => {
    if (event.kind !== begin) return [];
    const over = events.slice(index).find((later) => later.kind === end && later.host === event.host);
    return [{ host: event.host, from: event.at, to: over?.at ?? Infinity }];
  });
}

/** The freeze of the process's host that began last of those between its start and `at`. */
function frozenBefore(one: Seen, at: number, freezes: readonly Pause[]): Pause | undefined {
  return freezes.findLast(({ host, from, to }) => host === one.host && from <= at && to >= one.from);
}

function overlaps(
  processes: ReadonlyMap<string, Seen>,
  freezes: readonly Pause[],
): { readonly violations: readonly Violation[]; readonly late: readonly Late[] } {
  const violations: Violation[] = [];
  const late: Late[] = [];
  const all = [...processes.values()].toSorted((a, b) => a.from - b.from);
  for (const [index, older] of all.entries()) {
    for (const younger of all.slice(index + 1)) {
      if (younger.from > older.to) break;
      if (younger.run === older.run) continue;
      for (const { disk, mode } of older.disks) {
        const other = younger.disks.find((held) => held.disk === disk);
        if (other === undefined || (mode === 'read' && other.mode === 'read')) continue;
        const freeze =
          frozenBefore(older, younger.from, freezes) ?? frozenBefore(younger, younger.from, freezes);
        if (freeze === undefined) {
          violations.push({
            rule: 'overlap',
            at: younger.from,
            what: `${younger.run} on ${younger.host} was granted ${disk} ${other.mode} while ${older.run} on ${older.host} (process ${older.process}) had it ${mode} and was seen ${Math.round(older.to - younger.from)} ms later`,
          });
        } else {
          const frozen = freeze.host === older.host ? older : younger;
          late.push({ run: frozen.run, disk, afterThawMs: Math.max(0, frozen.to - freeze.to) });
        }
      }
    }
  }
  return { violations, late };
}

type Write = Extract<HistoryEvent, { kind: 'write' }>;

function acceptedWrites(events: readonly HistoryEvent[]): ReadonlyMap<string, readonly Write[]> {
  const byCell = new Map<string, Write[]>();
  for (const event of events) {
    if (event.kind !== 'write' || !event.accepted) continue;
    const cell = `${event.disk} ${event.cell}`;
    byCell.set(cell, [...(byCell.get(cell) ?? []), event]);
  }
  return byCell;
}

/** A process that was frozen may spoil what does not check tokens, and nothing else. */
function excused(
  cell: Cell,
  process: string,
  at: number,
  processes: ReadonlyMap<string, Seen>,
  freezes: readonly Pause[],
): boolean {
  const one = processes.get(process);
  return cell === 'unchecked' && one !== undefined && frozenBefore(one, at, freezes) !== undefined;
}

function lostUpdates(
  events: readonly HistoryEvent[],
  processes: ReadonlyMap<string, Seen>,
  freezes: readonly Pause[],
): readonly Violation[] {
  const violations: Violation[] = [];
  for (const [name, writes] of acceptedWrites(events)) {
    let value = 0;
    let before: Write | undefined;
    for (const write of writes) {
      const spoilt = [write, before].some(
        (one) => one !== undefined && excused(one.cell, one.process, write.at, processes, freezes),
      );
      if (write.base !== value && !spoilt) {
        violations.push({
          rule: 'lost update',
          at: write.at,
          what: `${write.run} wrote ${write.value} to ${name} for the ${write.base} that it had read, but it was ${value} by then (of ${before?.run ?? 'nobody'})`,
        });
      }
      value = write.value;
      before = write;
    }
  }
  return violations;
}

function lostMembers(
  events: readonly HistoryEvent[],
  processes: ReadonlyMap<string, Seen>,
  freezes: readonly Pause[],
): readonly Violation[] {
  const end = events.findLast((event) => event.kind === 'end');
  if (end === undefined) return [];
  const writes = acceptedWrites(events);
  return end.sets.flatMap(({ disk, cell, members }) => {
    const there = new Set(members);
    const told = writes.get(`${disk} ${cell}`) ?? [];
    // Whoever was frozen has replaced the set by an older one, and with it lost what others had added.
    if (told.some(({ process, at }) => excused(cell, process, at, processes, freezes))) return [];
    const lost = told.filter(({ added }) => !there.has(added));
    return lost.map(({ run, added, at }) => ({
      rule: 'lost member' as const,
      at,
      what: `${added}, which ${run} added to the set on ${disk} (${cell}), is no longer in it`,
    }));
  });
}

/** What is compared of a token: revisions of another cluster say nothing. */
function parseToken(token: string): { readonly cluster: string; readonly revision: bigint } | undefined {
  const match = /^([0-9a-f]+):([0-9]+)$/.exec(token);
  return match === null ? undefined : { cluster: match[1] ?? '', revision: BigInt(match[2] ?? '') };
}

function staleTokens(events: readonly HistoryEvent[]): readonly Violation[] {
  const violations: Violation[] = [];
  const highest = new Map<string, { readonly token: string; readonly run: string }>();
  const present = (disk: string, token: string, run: string): string | undefined => {
    const seen = highest.get(disk);
    const [mine, theirs] = [parseToken(token), seen === undefined ? undefined : parseToken(seen.token)];
    if (mine === undefined) return `has the token '${token}', which is none`;
    if (theirs === undefined || mine.revision >= theirs.revision) highest.set(disk, { token, run });
    else return `has the token ${token}, but ${seen?.run} has had ${seen?.token}`;
    return mine.cluster === theirs?.cluster || theirs === undefined ? undefined : `is of another cluster`;
  };
  for (const event of events) {
    if (event.kind === 'enter') {
      // Late is no sin: a grant may be old by the time that its command says so. What it does then is another matter.
      for (const { disk, token } of event.disks) present(disk, token, event.run);
    } else if (event.kind === 'write' && event.cell === 'checked' && event.accepted) {
      const wrong = present(event.disk, event.token, event.run);
      if (wrong === undefined) continue;
      const what = `a write of ${event.run} to ${event.disk} was accepted, though it ${wrong}`;
      violations.push({ rule: 'stale token accepted', at: event.at, what });
    }
  }
  return violations;
}

/** Whoever starts with an older token than somebody else has had in a mode that keeps it out, has lost the lock before. */
function ranWithout(events: readonly HistoryEvent[], freezes: readonly Pause[]): readonly Violation[] {
  const violations: Violation[] = [];
  const grants = new Map<
    string,
    { readonly run: string; readonly mode: HeldMode; readonly revision: bigint }[]
  >();
  for (const event of events) {
    if (event.kind !== 'enter') continue;
    const { run, at, host } = event;
    for (const { disk, mode, token } of event.disks) {
      const revision = parseToken(token)?.revision ?? 0n;
      const before = grants.get(disk) ?? [];
      const newer = before.find(
        (one) =>
          one.run !== run && one.revision > revision && (one.mode === 'exclusive' || mode === 'exclusive'),
      );
      grants.set(disk, [...before, { run, mode, revision }]);
      // Its supervisor may have stood still between the grant and the start.
      const frozen = freezes.some(
        (freeze) => freeze.host === host && freeze.from <= at && freeze.to + startMsMax >= at,
      );
      if (newer === undefined || frozen) continue;
      const what = `${run} on ${host} ran with the token ${token} of ${disk} after ${newer.run} had been granted it`;
      violations.push({ rule: 'ran without its lock', at, what });
    }
  }
  return violations;
}

function tokensTwice(events: readonly HistoryEvent[]): readonly Violation[] {
  const violations: Violation[] = [];
  const given = new Map<string, string>();
  for (const event of events) {
    if (event.kind !== 'enter') continue;
    for (const { disk, token } of event.disks) {
      const other = given.get(`${disk} ${token}`) ?? event.run;
      given.set(`${disk} ${token}`, other);
      if (other === event.run) continue;
      const what = `${event.run} and ${other} were both granted ${disk} with the token ${token}`;
      violations.push({ rule: 'token given twice', at: event.at, what });
    }
  }
  return violations;
}

/** Who is cut off cannot renew: its commands end before its leases do, whether or not somebody else wants the locks. */
function outlived(
  events: readonly HistoryEvent[],
  processes: ReadonlyMap<string, Seen>,
  freezes: readonly Pause[],
  ttlMs: number,
): { readonly violations: readonly Violation[]; readonly goneMs: readonly number[] } {
  const violations: Violation[] = [];
  const goneMs: number[] = [];
  for (const cut of pausesOf(events, 'cut', 'joined')) {
    if (cut.to - cut.from < ttlMs) continue;
    const before = [...processes.values()].filter(
      (one) => one.host === cut.host && one.from <= cut.from && one.to >= cut.from,
    );
    for (const one of before) {
      if (frozenBefore(one, cut.from + ttlMs, freezes) !== undefined) continue;
      goneMs.push(one.to - cut.from);
      if (one.to < cut.from + ttlMs) continue;
      violations.push({
        rule: 'outlived its lease',
        at: cut.from + ttlMs,
        what: `${one.run} (process ${one.process}) was seen ${Math.round(one.to - cut.from)} ms after ${cut.host} was cut off; its lease ended before ${ttlMs} ms`,
      });
    }
  }
  return { violations, goneMs };
}

function neverReleased(events: readonly HistoryEvent[]): readonly Violation[] {
  const end = events.findLast((event) => event.kind === 'end');
  if (end === undefined) {
    const at = events.at(-1)?.at ?? 0;
    return [{ rule: 'never released', at, what: 'nobody looked what was left: the history has no end' }];
  }
  const { at, left, stuck } = end;
  return [
    ...left.map((key) => ({ rule: 'never released' as const, at, what: `${key} is still in etcd` })),
    ...stuck.map((disk) => ({ rule: 'never released' as const, at, what: `nobody new was granted ${disk}` })),
  ];
}
