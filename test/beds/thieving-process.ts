/** What `lock-thief.ts` starts. */
import { openSync } from 'node:fs';
import { argv } from 'node:process';
import { tryLock, unlockAll } from '../../src/system/ofd-lock.js';

const disks = JSON.parse(argv[2] ?? '[]') as string[];
const opened = disks.map((path) => ({ path, fd: openSync(path, 'r+') }));
const got: string[] = [];
let tries = 0;
let over = false;
process.stdin.on('end', () => (over = true)).resume();

function tryAll(): void {
  for (const { path, fd } of opened) {
    tries++;
    if (!tryLock(fd, 'write', 0)) continue;
    got.push(path);
    unlockAll(fd);
  }
}

tryAll();
console.log('tried');
while (!over) {
  for (let round = 0; round < 200; round++) tryAll();
  await new Promise((resolve) => setImmediate(resolve));
}
console.log(JSON.stringify({ tries, got: got.slice(0, 100) }));
