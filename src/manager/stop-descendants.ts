/** Stops or pauses everything below this process, however it was started. It has to be a subreaper. */
import { constants } from 'node:os';
import { monotonicMs } from '../system/clock.js';
import {
  childrenHere,
  descendantsOf,
  hasChildren,
  reapOrphans,
  type Descendant,
} from '../system/descendants.js';
import { signalProcess } from '../system/pidfd.js';

const { SIGTERM, SIGKILL, SIGSTOP, SIGCONT } = constants.signals;

/** Each sweep reads all of /proc. */
const sweepMs = 20;

/** A process that forks and ends all the time is gone before a sweep is over; one look at our children takes 50 us. */
const quickLooks = 200;

/** Those below this process that run; orphans that have ended are taken note of. */
function running(child: number | undefined): readonly Descendant[] {
  reapOrphans(child);
  return descendantsOf(process.pid).filter(({ state }) => state !== 'Z');
}

/** SIGTERM to all, SIGKILL to those that are left after `graceMs`; returns when this process has no child any more. */
export async function stopDescendants(child: number | undefined, graceMs: number): Promise<void> {
  const start = monotonicMs();
  const asked = new Set<string>();
  do {
    const kill = monotonicMs() - start >= graceMs;
    if (kill) killChildren(child);
    for (const { pid, startTime } of running(child)) {
      const key = `${pid} ${startTime}`;
      if (kill) signalProcess(pid, startTime, SIGKILL);
      else if (!asked.has(key)) {
        signalProcess(pid, startTime, SIGTERM);
        signalProcess(pid, startTime, SIGCONT); // A stopped process hears SIGTERM only when it goes on.
        asked.add(key);
      }
    }
    await pause(sweepMs);
    // A sweep that found nobody proves nothing: who forks and ends all the time is missed by it.
  } while (hasChildren());
}

function killChildren(child: number | undefined): void {
  for (let look = 0; look < quickLooks && hasChildren(); look++) {
    for (const { pid, startTime } of childrenHere()) signalProcess(pid, startTime, SIGKILL);
    reapOrphans(child);
  }
}

/**
 * SIGSTOP to all, again until none was found running. One that was told and is in an uninterruptible wait (D) runs no
 * more either: it stops as it leaves that. It may never leave: vfork(2) waits so for a child that is stopped.
 */
export async function pauseDescendants(child: number | undefined): Promise<void> {
  const told = new Set<string>();
  const going = (): readonly Descendant[] =>
    running(child).filter(
      ({ pid, startTime, state }) => state !== 'T' && !(state === 'D' && told.has(`${pid} ${startTime}`)),
    );
  for (let left = going(); left.length > 0; left = going()) {
    for (const { pid, startTime } of left) {
      signalProcess(pid, startTime, SIGSTOP);
      told.add(`${pid} ${startTime}`);
    }
    await pause(sweepMs);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
