/**
 * Pauses all that relied on leases which are lost, and gives the leases back: whoever still has some is killed by sanlock. Each
 * QEMU is told to stop its guest first, which lets the guest's writes come to an end where the storage answers.
 */
import { constants } from 'node:os';
import { resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { releaseAllOf } from '../drivers/sanlock/client-library.js';
import { isStopped } from '../guard/stop-descendants.js';
import { isQemuProgram } from '../holders/qemu-command-line.js';
import { qmpSocket } from '../holders/qemu-monitor.js';
import { tellQemu } from '../manager/qmp-monitor.js';
import { monotonicMs } from '../system/clock.js';
import { signalProcess } from '../system/pidfd.js';
import { processProgram } from '../system/process-program.js';
import { keeperFinder, type FoundKeeper, type LeaseKeepers } from './lease-keepers.js';
import { stopKeepers } from './stop-keepers.js';

const { SIGSTOP } = constants.signals;

/** A guest that takes longer to pause waits for its storage. */
const tellMsMax = 1_000;
/** Who is not stopped by then is killed, long before sanlock would (40 s). */
const stopMsMax = 10_000;
const releaseMsMax = 10_000;
const sweepMs = 20;
/** How much longer than a look, which reads all of /proc, it rests. */
const restFactor = 2;

export async function pauseKeepers(keepers: LeaseKeepers): Promise<void> {
  await Promise.all(keeperFinder(keepers)().map(({ pid }) => stopGuest(pid)));
  try {
    await stopAll(keepers);
    await inTime(releaseAllOf(keepers.pid), releaseMsMax);
  } catch (error) {
    // It would be killed by sanlock, and what it has started would not.
    await stopKeepers(keepers, true);
    throw error;
  }
}

/** Never throws. What the kernel does not tell in time (a process that waits for its own pages) is left to SIGSTOP. */
async function stopGuest(pid: number): Promise<void> {
  const asking = (async () => {
    const { program, argv } = await processProgram(pid);
    const path = isQemuProgram(program) ? qmpSocket(argv) : undefined;
    // As the QEMU itself would find it.
    if (path !== undefined) await tellQemu(resolve(`/proc/${pid}/cwd`, path), 'stop', tellMsMax);
  })();
  await Promise.race([asking.catch(() => undefined), pause(2 * tellMsMax)]);
}

export async function stopAll(keepers: LeaseKeepers): Promise<void> {
  const startMs = monotonicMs();
  const told = new Set<string>();
  const find = keeperFinder(keepers);
  const runs = (one: FoundKeeper): boolean => !isStopped(one, told.has(`${one.pid} ${one.startTime}`));
  // Twice with nobody: who was just being born at the first look is there at the second.
  for (let quiet = 0; quiet < 2;) {
    const lookedAtMs = monotonicMs();
    const going = find().filter(runs);
    quiet = going.length === 0 ? quiet + 1 : 0;
    for (const { pid, startTime } of going) {
      signalProcess(pid, startTime, SIGSTOP);
      told.add(`${pid} ${startTime}`);
    }
    if (monotonicMs() - startMs > stopMsMax) {
      throw new Error(`not stopped: ${going.map(({ pid }) => pid).join(', ')}`);
    }
    await pause(Math.max(sweepMs, (monotonicMs() - lookedAtMs) * restFactor));
  }
}

async function inTime(work: Promise<void>, ms: number): Promise<void> {
  const late = pause(ms, undefined, { ref: false }).then(() => {
    throw new Error('sanlock does not take the leases back');
  });
  await Promise.race([work, late]);
}
