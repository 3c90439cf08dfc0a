/** Stops or pauses everything below a process, however it was started. Needs that process to be a subreaper. */
import { constants } from 'node:os';
import { descendantsOf, reapOrphan, type Descendant } from '../system/descendants.js';
import { signalProcess } from '../system/pidfd.js';
import { monotonicMs } from '../system/clock.js';

const { SIGTERM, SIGKILL, SIGSTOP, SIGCONT } = constants.signals;

/** Each sweep reads all of /proc; a process that forks faster than this is caught by the SIGKILLs that follow. */
const sweepMs = 20;

/**
 * Those below `root` that still run; orphans that have ended are taken note of, but never `child`: Node waits
 * for that one itself, and would wait for ever if its status were taken away.
 */
export function liveDescendants(root: number, child: number | undefined): readonly Descendant[] {
  const all = descendantsOf(root);
  for (const { pid, ppid, state } of all) {
    if (state === 'Z' && ppid === root && pid !== child) reapOrphan(pid);
  }
  return all.filter(({ state }) => state !== 'Z');
}

/** SIGTERM to all, SIGKILL to those that are left after `graceMs`; returns when nobody is left. */
export async function stopDescendants(
  root: number,
  child: number | undefined,
  graceMs: number,
): Promise<void> {
  const start = monotonicMs();
  const asked = new Set<string>();
  for (let left = liveDescendants(root, child); left.length > 0; left = liveDescendants(root, child)) {
    const kill = monotonicMs() - start >= graceMs;
    for (const { pid, startTime } of left) {
      const key = `${pid} ${startTime}`;
      if (kill) signalProcess(pid, startTime, SIGKILL);
      else if (!asked.has(key)) {
        signalProcess(pid, startTime, SIGTERM);
        signalProcess(pid, startTime, SIGCONT); // A stopped process hears SIGTERM only when it goes on.
        asked.add(key);
      }
    }
    await pause();
  }
}

/** SIGSTOP to all, again until none was found running. */
export async function pauseDescendants(root: number, child: number | undefined): Promise<void> {
  const running = (): readonly Descendant[] =>
    liveDescendants(root, child).filter(({ state }) => state !== 'T');
  for (let left = running(); left.length > 0; left = running()) {
    for (const { pid, startTime } of left) signalProcess(pid, startTime, SIGSTOP);
    await pause();
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, sweepMs));
}
