/** Many held locks: the memory that they take, and how long they are in nobody's hands but the keeper's when the daemon is killed. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LockClient } from '../../test/beds/lock-client.js';
import { until } from '../../test/beds/until.js';
import { residentKib } from './process-figures.js';
import { ourServer, type OurServer } from './servers.js';

const locks = 10_000;
const warmUps = 2_000;
const recoveries = 5;

/** Acquires disks FIRST to LAST on one connection, for this process. */
async function acquire(client: LockClient, disks: string, first: number, last: number): Promise<void> {
  for (let index = first; index < last; index++) {
    const name = join(disks, `${index}`);
    const error = await client.call({ call: 'acquire', path: '', name, flags: 0 });
    if (error !== undefined) throw new Error(error.message);
  }
}

async function registered(socket: string): Promise<LockClient> {
  const client = await LockClient.connect(socket);
  // Of a process that does not mind the end of its connection.
  const owner = { uuid: Buffer.alloc(16, 7), name: 'bench', id: 1, pid: process.ppid };
  const error = await client.call({ call: 'register', owner, flags: 0 });
  if (error !== undefined) throw new Error(error.message);
  return client;
}

const memoryKib = ({ lockd }: OurServer): number =>
  residentKib(lockd.keeperPid) + residentKib(lockd.daemonPid());

export async function heldFigures(folder: string): Promise<void> {
  const own = mkdtempSync(join(folder, 'held-'));
  const disks = join(own, 'disks');
  mkdirSync(disks);
  for (let index = 0; index < locks; index++) writeFileSync(join(disks, `${index}`), '');
  const server = await ourServer(own);
  const { lockd } = server;
  try {
    const client = await registered(lockd.socket);
    // The code that does it is loaded and compiled once.
    for (let index = 0; index < warmUps; index++) {
      await acquire(client, disks, index, index + 1);
      await client.call({ call: 'release', path: '', name: join(disks, `${index}`), flags: 0 });
    }
    const before = memoryKib(server);
    await acquire(client, disks, 0, locks);
    // What is garbage only now is none of a held lock's.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const after = memoryKib(server);
    const each = ((after - before) * 1024) / locks;
    process.stdout.write(
      `memory of keeper and daemon: ${before} KiB with no lock, ${after} KiB with ${locks}: ${each.toFixed(0)} bytes a lock\n`,
    );
    client.close();
    for (let time = 1; time <= recoveries; time++) {
      const start = performance.now();
      process.kill(lockd.daemonPid(), 'SIGKILL');
      const next = await nextClient(lockd.socket);
      const ms = performance.now() - start;
      await lockd.served(time + 1);
      next.close();
      process.stdout.write(
        `daemon killed with ${locks} locks held: it answers again after ${ms.toFixed(0)} ms\n`,
      );
    }
    process.stdout.write(
      `memory after that: ${memoryKib(server)} KiB, ${(((memoryKib(server) - before) * 1024) / locks).toFixed(0)} bytes a lock\n`,
    );
  } finally {
    await server.stop();
  }
}

/** Who asks while the daemon dies is turned away, and asks again. */
async function nextClient(socket: string): Promise<LockClient> {
  let client: LockClient | undefined;
  await until(async () => {
    client = await registered(socket).catch(() => undefined);
    return client !== undefined;
  }, 'the next daemon');
  if (client === undefined) throw new Error('there is none');
  return client;
}
