/** Ends all that relied on leases which are lost: then sanlock sees its connection closed, and the host need not be reset. */
import { constants } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { monotonicMs } from '../system/clock.js';
import { signalProcess } from '../system/pidfd.js';
import { keeperFinder, type LeaseKeepers } from './lease-keepers.js';

const { SIGTERM, SIGKILL, SIGCONT } = constants.signals;

/** Between SIGTERM and SIGKILL, as for a command under a supervisor. */
const graceMs = 5_000;
/** One that is still there waits in the kernel for its storage (D): the watchdog, 60 s after the start of all this, is for that. */
const givesUpMs = 120_000;
const sweepMs = 50;
/** How much longer than a look, which reads all of /proc, it rests: this runs before all ordinary processes. */
const restFactor = 4;

/** @param killAtOnce nobody is asked to end first. */
export async function stopKeepers(keepers: LeaseKeepers, killAtOnce = false): Promise<void> {
  const startMs = monotonicMs();
  const asked = new Set<string>();
  const find = keeperFinder(keepers);
  for (;;) {
    const lookedAtMs = monotonicMs();
    const left = find();
    if (left.length === 0) return;
    const sinceMs = monotonicMs() - startMs;
    const kill = killAtOnce || sinceMs >= graceMs;
    if (sinceMs >= givesUpMs) throw new Error(`not ended: ${left.map(({ pid }) => pid).join(', ')}`);
    for (const { pid, startTime } of left) {
      const key = `${pid} ${startTime}`;
      if (kill) signalProcess(pid, startTime, SIGKILL);
      else if (!asked.has(key)) {
        signalProcess(pid, startTime, SIGTERM);
        signalProcess(pid, startTime, SIGCONT); // A stopped process hears SIGTERM only when it goes on.
        asked.add(key);
      }
    }
    await pause(Math.max(sweepMs, (monotonicMs() - lookedAtMs) * restFactor));
  }
}
