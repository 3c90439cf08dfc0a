/**
 * A process that watches a fight for disks and knows nothing of Holdfast: it follows the journal, and asks the kernel
 * whether the disks that are held by it are locked. Arguments: the journal, then the disks' folder. It ends at the end
 * of its standard input, and then prints what it saw.
 */
import { join } from 'node:path';
import { FightJournal, isAlive } from './fight-journal.js';
import { lockOn } from './observed-lock.js';

const lookMs = 20;
const [journalPath = '', folder = ''] = process.argv.slice(2);
const journal = new FightJournal(journalPath);
const unlocked: string[] = [];
let looks = 0;

function look(): void {
  const before = journal.read();
  const locks = new Map(before.map(({ disk }) => [disk, lockOn(join(folder, disk))]));
  // Who held before and holds still, held in between.
  const still = new Set(journal.read().map(({ disk, line }) => `${disk} ${line}`));
  for (const { disk, mode, pid, line } of before) {
    if (!still.has(`${disk} ${line}`) || !isAlive(pid)) continue;
    looks++;
    const wanted = mode === 'exclusive' ? 'write' : 'read';
    if (locks.get(disk) !== wanted)
      unlocked.push(`${disk} of ${pid} (${mode}) was locked: ${locks.get(disk)}`);
  }
}

const timer = setInterval(look, lookMs);
process.stdin.resume().on('end', () => {
  clearInterval(timer);
  const left = journal.read().filter(({ pid }) => isAlive(pid));
  const { violations, entries } = journal;
  console.log(JSON.stringify({ violations, unlocked, looks, entries, left }));
});
console.log('ready');
