/** A keeper that stands still: its daemon goes on, and what is held stays held. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { LockClient } from '../../beds/lock-client.js';
import { startThief } from '../../beds/lock-thief.js';
import { buildLockd, isAlive, startLockd, type Lockd } from '../../beds/lockd.js';
import { lockOn } from '../../beds/observed-lock.js';
import { privateFolder } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = privateFolder();
const owner = { uuid: Buffer.alloc(16, 7), name: 'web1', id: 1, pid: process.ppid };
/** A daemon without this has a queue of some hundred KiB, as a user's own has. */
const smallQueue = ['setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-net_admin'];
/** With so long a path a record is long, and fewer of them fill the queue. */
const longName = 'x'.repeat(240);
const longNames = 14;
/** More pairs of messages than that queue has room for, even where a user's own may be long. */
const pairs = 2_500;
let programs = '';
let cases = 0;

/** Runs a test with a keeper, a daemon with a small queue, a connection and some disks, of which it has `held`. */
async function withLockd(
  count: number,
  work: (lockd: Lockd, client: LockClient, disks: readonly string[]) => Promise<void>,
): Promise<void> {
  const own = join(folder, `case-${++cases}`);
  const deep = join(own, ...Array<string>(longNames).fill(longName));
  mkdirSync(deep, { recursive: true });
  const disks = Array.from({ length: count }, (_, index) => join(deep, `disk-${index}`));
  for (const disk of disks) writeFileSync(disk, '');
  const lockd = await startLockd(programs, own, smallQueue);
  try {
    const client = await connect(lockd);
    for (const disk of disks) await call(client, 'acquire', disk);
    await work(lockd, client, disks);
    client.close();
  } finally {
    // One that is stopped ends as well.
    lockd.stop();
  }
}

async function connect(lockd: Lockd): Promise<LockClient> {
  const client = await LockClient.connect(lockd.socket);
  assert.equal(await client.call({ call: 'register', owner, flags: 0 }), undefined);
  return client;
}

async function call(client: LockClient, what: 'acquire' | 'release', disk: string): Promise<void> {
  const error = await client.call({ call: what, path: '', name: disk, flags: 0 });
  assert.equal(error?.message, undefined);
}

/** Until the queue has been full. */
async function load(client: LockClient, disk: string): Promise<void> {
  for (let done = 0; done < pairs; done++) {
    await call(client, 'release', disk);
    await call(client, 'acquire', disk);
  }
}

async function heldStill(disks: readonly string[]): Promise<void> {
  for (const disk of disks) assert.equal(lockOn(disk), 'write');
}

/** The daemon that serves now has got everything from its keeper. */
function requireAdopted({ lines }: Lockd, adopted: number): void {
  const serving = lines.findLast(({ message }) => message === 'serving') ?? { start: undefined };
  assert.deepEqual(serving['start'], {
    news: 'ready',
    adopted,
    takenAgain: 0,
    lost: [],
    notUnderstood: [],
  });
}

describe('a keeper that stands still', { skip: lacks('root') }, () => {
  before(async () => {
    programs = await buildLockd(folder);
  });
  after(() => rmSync(programs, { recursive: true, force: true }));

  test('one that was stopped is woken when its queue is full, and has everything', () =>
    withLockd(20, async (lockd, client, disks) => {
      const [first = '', ...others] = disks;
      const thief = await startThief(others);
      process.kill(lockd.keeperPid, 'SIGSTOP');
      await load(client, first);
      await lockd.said('the keeper stands still');
      const daemon = lockd.daemonPid();
      process.kill(daemon, 'SIGKILL');
      await lockd.served(2);
      assert.ok(isAlive(lockd.keeperPid));
      assert.equal(lockd.lines.filter(({ message }) => message === 'keeping').length, 1);
      assert.deepEqual((await thief.stop()).got, []);
      await heldStill(disks);
    }));

  test('one that cannot be woken is killed, and another one has everything', () =>
    withLockd(2_000, async (lockd, client, disks) => {
      const [first = '', ...others] = disks;
      const thief = await startThief(others.slice(0, 20));
      const daemon = lockd.daemonPid();
      process.kill(lockd.keeperPid, 'SIGUSR2');
      await load(client, first);
      await until(() => !isAlive(lockd.keeperPid), 'the end of the keeper');
      await lockd.said('keeping', 2);
      assert.equal(lockd.daemonPid(), daemon);
      process.kill(daemon, 'SIGKILL');
      await lockd.served(2);
      requireAdopted(lockd, disks.length);
      assert.deepEqual((await thief.stop()).got, []);
      await heldStill(disks);
    }));

  test('the other thread of the daemon alone has something to tell it', () =>
    withLockd(3, async (lockd, _client, disks) => {
      process.kill(lockd.keeperPid, 'SIGUSR2');
      process.kill(lockd.daemonPid(), 'SIGUSR2');
      await lockd.said('the keeper stands still', 2);
      await lockd.said('keeping', 2);
      assert.ok(!isAlive(lockd.keeperPid));
      process.kill(lockd.daemonPid(), 'SIGKILL');
      await lockd.served(2);
      await heldStill(disks);
      const client = await connect(lockd);
      for (const disk of disks) await call(client, 'release', disk);
      client.close();
    }));

  test('one that is killed when more is held than a queue has room for', () =>
    withLockd(3_000, async (lockd, client, disks) => {
      process.kill(lockd.keeperPid, 'SIGKILL');
      await lockd.said('keeping', 2);
      const [first = ''] = disks;
      await call(client, 'release', first);
      await call(client, 'acquire', first);
      process.kill(lockd.daemonPid(), 'SIGKILL');
      await lockd.served(2);
      requireAdopted(lockd, disks.length);
    }));
});
