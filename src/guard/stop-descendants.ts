/** Stops or pauses everything below this process, however it was started. It has to be a subreaper. */
import { constants } from 'node:os';
import { childrenHere, hasChildren, type Descendant } from '../system/descendants.js';
import { signalProcess } from '../system/pidfd.js';
import { allThreadsEnded } from '../system/process.js';
import { belowSpared } from './below-spared.js';
import type { NamedProcess } from './guard-words.js';

const { SIGTERM, SIGKILL, SIGSTOP, SIGCONT } = constants.signals;

/** Each sweep reads all of /proc. */
const sweepMs = 20;

/** A process that forks and ends all the time is gone before a sweep is over; one look at our children takes 50 us. */
const quickLooks = 200;

/** Takes note of the ends of orphans. */
export type Reap = () => void;

/** Children that are nobody's to stop, as of now: a guard. */
export type Spared = () => readonly NamedProcess[];
const nobody: Spared = () => [];

/** Those below this process that run. */
function running(reap: Reap, spared: Spared): readonly Descendant[] {
  reap();
  return belowSpared(process.pid, spared()).filter((one) => !allThreadsEnded(one));
}

/**
 * Whether anybody is left. The list of children misses nobody: one that has ended stays on it until this process asks for its end, and
 * by then its own children are on it too.
 */
export function hasOthers(spared: Spared): boolean {
  return spared().length === 0 ? hasChildren() : otherChildren(spared).length > 0;
}

function otherChildren(spared: Spared): readonly Descendant[] {
  const pids = spared().map(({ pid }) => pid);
  return childrenHere().filter(({ pid }) => !pids.includes(pid));
}

/** SIGTERM to all, SIGKILL to those that are left when it is time; returns when this process has no child any more. */
export async function stopDescendants(
  reap: Reap,
  isTimeToKill: () => boolean,
  spared: Spared = nobody,
): Promise<void> {
  const asked = new Set<string>();
  do {
    const kill = isTimeToKill();
    if (kill) killChildren(reap, spared);
    for (const one of running(reap, spared)) {
      const { pid, startTime } = one;
      const key = keyOf(one);
      if (kill) signalProcess(pid, startTime, SIGKILL);
      else if (!asked.has(key)) {
        signalProcess(pid, startTime, SIGTERM);
        signalProcess(pid, startTime, SIGCONT); // A stopped process hears SIGTERM only when it goes on.
        asked.add(key);
      }
    }
    await pause(sweepMs);
    // A sweep that found nobody proves nothing: who forks and ends all the time is missed by it.
  } while (hasOthers(spared));
}

function killChildren(reap: Reap, spared: Spared): void {
  for (let look = 0; look < quickLooks; look++) {
    reap();
    const running = otherChildren(spared).filter((one) => !allThreadsEnded(one));
    if (running.length === 0) return;
    for (const { pid, startTime } of running) signalProcess(pid, startTime, SIGKILL);
  }
}

export type Paused = readonly Descendant[];

/** SIGSTOP to all, again until none was found running; gives those that it has stopped. */
export async function pauseDescendants(reap: Reap, spared: Spared = nobody): Promise<Paused> {
  const told = new Map<string, Descendant>();
  const stop = (found: readonly Descendant[]): boolean => {
    const going = found.filter((one) => !isStopped(one, told.has(keyOf(one))));
    for (const one of going) {
      signalProcess(one.pid, one.startTime, SIGSTOP);
      told.set(keyOf(one), one);
    }
    return going.length > 0;
  };
  for (let found = true; found;) {
    found = stop(running(reap, spared));
    // Whoever forks and ends all the time is missed by such a sweep: its orphan is a child of this process for a moment.
    for (let look = 0; look < quickLooks && hasOthers(spared); look++) {
      if (stop(otherChildren(spared))) found = true;
      reap();
    }
    await pause(sweepMs);
  }
  return [...told.values()];
}

/**
 * Of one that was told to stop these count as well: in an uninterruptible wait (D) it runs no more, and stops as it leaves
 * that, if ever: vfork(2) waits so for a child that is stopped. The state of one whose first thread has ended stays Z, however the others are.
 * A traced one (t) runs when its tracer lets it, and stops then.
 */
export function isStopped(one: Pick<Descendant, 'state' | 'threads'>, told: boolean): boolean {
  return one.state === 'T' || allThreadsEnded(one) || (told && ['D', 'Z', 't'].includes(one.state));
}

function keyOf({ pid, startTime }: Descendant): string {
  return `${pid} ${startTime}`;
}

/** Those that were stopped go on, and nobody else: what had stopped itself before stays as it was. */
export function resumePaused(paused: Paused): void {
  for (const { pid, startTime } of paused) signalProcess(pid, startTime, SIGCONT);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
