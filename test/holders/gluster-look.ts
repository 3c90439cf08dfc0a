/** Run by a test between two mounts of one volume: who holds a file, seen through the one and through the other. */
import { truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { findHolders, findUnlockedUse } from '../../src/holders/find-holders.js';
import { resourceAt, startActor } from './actor.js';

const mounts = ['one', 'two'].map((name) => join(process.argv[2] ?? '', name, 'disk.img'));
const [path = ''] = mounts;
writeFileSync(path, '');
truncateSync(path, 1 << 20);

async function look(): Promise<unknown[]> {
  const seen: unknown[] = [];
  for (const mount of mounts) {
    const resource = resourceAt(mount, { scope: 'cluster' });
    const { holders, complete } = await findHolders(resource);
    const unlocked = (await findUnlockedUse([resource])).get(mount) ?? [];
    seen.push({
      holders: holders.map(({ pid, through }) => [pid, ...through]),
      complete,
      unlocked: unlocked.map(({ pid, through }) => [pid, ...through]),
    });
  }
  return seen;
}

const idle = await look();
const writer = await startActor(`fs.openSync(${JSON.stringify(path)}, 'r+');`);
const written = await look();
await writer[Symbol.asyncDispose]();
const locker = await startActor(`lock(fs.openSync(${JSON.stringify(path)}, 'r+'), OFD, WRITE, 0, 1);`);
const locked = await look();
await locker[Symbol.asyncDispose]();
writeSync(1, `${JSON.stringify({ idle, written, locked, writer: writer.pid, locker: locker.pid })}\n`);
