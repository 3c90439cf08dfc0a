/** What changed between two looks at the same resources: who came, who went, who holds it in another way now. */
import type { ResourceUse } from '../index.js';
import { printable } from '../printable.js';
import type { Holder } from '../vocabulary.js';
import { enumeration, renderHolder } from './render-refusal.js';
import { renderSince } from './render-time.js';
import { nameOf } from './render-use.js';

/**
 * - `in use`, `free`, `not fully seen`: how it stands when the watch begins, or when something new is watched.
 * - `taken`, `released`, `changed`: a holder came, went, or holds it in another way now.
 * - `seen`: only the state changed: more or less of it can be seen now.
 * - `noted`: there is something new to say of it, such as that its path does not lead to it any longer.
 */
export interface UseEvent {
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly event: ResourceUse['state'] | 'taken' | 'released' | 'changed' | 'seen' | 'noted';
  readonly use: ResourceUse;
  readonly holder?: Holder;
  /** What is new to say. */
  readonly note?: string;
}

/** The events that lead from one list to the next; without a first list, how it stands. */
export function useEvents(
  before: readonly ResourceUse[] | undefined,
  after: readonly ResourceUse[],
  now: Date = new Date(),
): readonly UseEvent[] {
  const time = now.toISOString();
  return after.flatMap((use): UseEvent[] => {
    const old = before?.find(({ resource }) => resource.identity === use.resource.identity);
    if (old === undefined) return firstEvents(use, time);
    const was = byHolder(old.holders);
    const is = byHolder(use.holders);
    const events = [
      ...[...was]
        .filter(([key]) => !is.has(key))
        .map(([, holder]) => ({ event: 'released', holder }) as const),
      ...[...is].filter(([key]) => !was.has(key)).map(([, holder]) => ({ event: 'taken', holder }) as const),
      ...[...is]
        .filter(([key, holder]) => was.has(key) && shown(holder) !== shown(was.get(key)))
        .map(([, holder]) => ({ event: 'changed', holder }) as const),
    ];
    const seen = events.length === 0 && old.state !== use.state ? [{ event: 'seen' } as const] : [];
    const noted = use.notes
      .filter((note) => !old.notes.includes(note))
      .map((note) => ({ event: 'noted', note }) as const);
    return [...events, ...seen, ...noted].map((one) => ({ time, use, ...one }));
  });
}

function firstEvents(use: ResourceUse, time: string): UseEvent[] {
  const { state, holders } = use;
  return holders.length === 0
    ? [{ time, event: state, use }]
    : holders.map((holder) => ({ time, event: 'in use', use, holder }));
}

/** A process is the same by pid and start time; what the kernel does, by what it does. */
function byHolder(holders: readonly Holder[]): ReadonlyMap<string, Holder> {
  const map = new Map<string, Holder>();
  for (const holder of holders) {
    const { pid, startTime, program, host, through } = holder;
    const key = JSON.stringify(pid === undefined ? [program, host, through] : [pid, startTime]);
    // One process can have two holds of one resource.
    map.set(map.has(key) ? `${key} ${map.size}` : key, holder);
  }
  return map;
}

/** Numbers of descriptors change while nothing else does. */
function shown(holder: Holder | undefined): string {
  return JSON.stringify({ ...holder, evidence: [] });
}

/** One line, with its newline: `13:18:51 /a.img: taken by dd (pid 5) on this host, no lock: open for writing`. */
export function renderEvent(
  { time, event, use, holder, note }: UseEvent,
  now: Date = new Date(time),
): string {
  // A note names what it is about.
  if (note !== undefined) return printable(`${renderSince(time, now)} ${note}`) + '\n';
  const how = holder === undefined ? '' : `${renderHolder(holder, now)}, ${enumeration(holder.through)}`;
  const words = {
    'in use': `in use by ${how}`,
    free: 'free',
    'not fully seen': `nobody was found, but not everything could be seen: ${use.unseen}`,
    taken: `taken by ${how}`,
    released: `released by ${holder === undefined ? '' : renderHolder(holder, now)}${afterwards(use)}`,
    changed: `held in another way by ${how}`,
    seen: use.state === 'free' ? 'free' : `not everything can be seen: ${use.unseen}`,
    noted: '',
  }[event];
  return printable(`${renderSince(time, now)} ${nameOf(use)}: ${words}`) + '\n';
}

function afterwards({ state }: ResourceUse): string {
  return state === 'in use' ? '; others still use it' : state === 'free' ? '; it is free now' : '';
}

/** One line of JSON, with its newline. */
export function eventData({ time, event, use, holder, note }: UseEvent): string {
  const { resource, role, state, unseen } = use;
  return `${JSON.stringify({
    time,
    event,
    resource: resource.label,
    identity: resource.identity,
    role,
    state,
    ...(holder === undefined ? {} : { holder }),
    ...(note === undefined ? {} : { note }),
    ...(unseen === undefined ? {} : { unseen }),
  })}\n`;
}
