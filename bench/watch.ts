/** What `who --watch` takes of a disk that nobody touches: processor time, user and system, of all its threads. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Figure } from './measure.js';

const command = fileURLToPath(new URL('../dist/command/holdfast', import.meta.url));
/** What is loaded and compiled at the start is not counted. */
const settleMs = 5_000;
/** Everything is looked at anew every 30 s, so this has one such look in it. */
const measuredMs = 30_000;
const clockTickMs = 10;

export async function watchFigures(folder: string): Promise<Figure[]> {
  const disk = join(folder, 'watch.img');
  writeFileSync(disk, '');
  const watch = spawn(command, ['who', '--watch', '--json', disk], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(watch.stdout, 'data');
    await sleep(settleMs);
    const before = processorMs(watch.pid);
    await sleep(measuredMs);
    return [
      {
        what: 'who --watch of an idle disk: processor time in 30 s',
        against: '1 % of one core',
        median: processorMs(watch.pid) - before,
        medianAgainst: measuredMs / 100,
        unit: 'ms',
        goal: 'under 1 time',
      },
    ];
  } finally {
    watch.kill('SIGKILL');
  }
}

/** Fields 14 and 15 of /proc/PID/stat (proc_pid_stat(5)). */
function processorMs(pid: number | undefined): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[14 - 3]) + Number(fields[15 - 3])) * clockTickMs;
}
