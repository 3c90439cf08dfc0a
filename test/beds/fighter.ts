/**
 * A process that fights for disks through the library, as several contenders at once. Arguments: the folder with the
 * disks, how many there are, the journal, how many contenders, how long in milliseconds. Prints what became of it.
 */
import { appendFileSync, closeSync, openSync, readFileSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { isHoldfastError, openManager, type Manager } from '../../src/index.js';
import { isAlive } from './fight-journal.js';

const [folder = '', diskCount = '', journal = '', contenders = '', lastsMs = ''] = process.argv.slice(2);
const holdMsMax = 30;
const outcome = { granted: 0, refused: 0, violations: [] as string[] };

const random = (below: number): number => Math.floor(Math.random() * below);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function mark(disk: string, id: string): void {
  const path = join(folder, `${disk}.marker`);
  for (;;) {
    try {
      const fd = openSync(path, 'wx');
      writeSync(fd, id);
      closeSync(fd);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const other = readFileSync(path, 'utf8');
      if (isAlive(Number(other.split(':')[0])))
        outcome.violations.push(`${id} found the marker of ${other} on ${disk}`);
      unlinkSync(path);
    }
  }
}

async function contend(manager: Manager, number: number, until: number): Promise<void> {
  for (let round = 0; performance.now() < until; round++) {
    const id = `${process.pid}:${number}.${round}`;
    const mode = random(4) === 0 ? 'shared' : 'exclusive';
    const disks = [
      ...new Set(Array.from({ length: 1 + random(3) }, () => `disk${random(Number(diskCount))}`)),
    ];
    try {
      const hold = await manager.lock(
        { disks: disks.map((disk) => `${join(folder, disk)}:${mode}`), name: id },
        { wait: random(2) === 0 ? false : 2_000 },
      );
      outcome.granted++;
      appendFileSync(journal, `enter ${id} ${mode} ${disks.join(' ')}\n`);
      if (mode === 'exclusive') for (const disk of disks) mark(disk, id);
      await pause(random(holdMsMax));
      if (mode === 'exclusive') for (const disk of disks) unlinkSync(join(folder, `${disk}.marker`));
      appendFileSync(journal, `leave ${id} ${mode} ${disks.join(' ')}\n`);
      await hold.release();
    } catch (error) {
      if (!isHoldfastError(error, 'IN_USE') && !isHoldfastError(error, 'TIMEOUT')) throw error;
      outcome.refused++;
    }
    await pause(random(holdMsMax));
  }
}

const manager = openManager({ configuration: false });
const until = performance.now() + Number(lastsMs);
await Promise.all(Array.from({ length: Number(contenders) }, (_, number) => contend(manager, number, until)));
await manager.close();
console.log(JSON.stringify(outcome));
