/** Processes that are known by what stands in their environment, however far they have detached themselves. */
import { readdirSync, readFileSync } from 'node:fs';

/** One that dies may just have started another: a daemon replaces a keeper that was killed. */
const endRoundsMax = 500;
const endPauseMs = 5;

/** Every process that has one of these variables (`NAME=value`), but this one; zombies have no environment any more. */
export function markedProcesses(...marks: readonly string[]): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid && environmentOf(pid).some((one) => marks.includes(one)));
}

export function environmentOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    return []; // It has ended.
  }
}

/** Kills those of them that still run. */
export function endProcesses(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  }
}

/** Ends them, and what they start meanwhile. */
export function endMarkedProcesses(...marks: readonly string[]): void {
  for (let round = 0; round < endRoundsMax; round++) {
    const left = markedProcesses(...marks);
    if (left.length === 0) return;
    endProcesses(left);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, endPauseMs);
  }
}
