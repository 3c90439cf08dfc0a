/** Keeper and daemon as processes: what is held stays held, whichever of them ends, and however. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { keepKind, KeepWriter } from '../../../src/daemon/keeper/keep-message.js';
import type { TakenUp } from '../../../src/daemon/lockd/take-up.js';
import { tryLock } from '../../../src/system/ofd-lock.js';
import { connectMessages } from '../../../src/system/unix-socket.js';
import { LockClient } from '../../beds/lock-client.js';
import { startThief } from '../../beds/lock-thief.js';
import { buildLockd, isAlive, startLockd, type Lockd } from '../../beds/lockd.js';
import { lockOn, untilFree } from '../../beds/observed-lock.js';
import { policyOf } from '../../beds/policy-of.js';
import { privateFolder } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = privateFolder();
const uuid = Buffer.from('c7a5fdbdedaf9455926ad65c16db1809', 'hex');
let programs = '';
let cases = 0;

interface Case {
  readonly lockd: Lockd;
  readonly disks: readonly string[];
  /** A registered connection; the owner is this process, whose connections mean nothing to it. */
  readonly client: (pid?: number) => Promise<LockClient>;
}

/** Runs a test with a keeper, a daemon and some disks of its own. */
async function withLockd(
  count: number,
  work: (given: Case) => Promise<void>,
  environment: Record<string, string> = {},
): Promise<void> {
  const own = join(folder, `case-${++cases}`);
  mkdirSync(own);
  const disks = Array.from({ length: count }, (_, index) => join(own, `disk-${index}`));
  for (const disk of disks) writeFileSync(disk, '');
  const lockd = await startLockd(programs, own, [], environment);
  const clients: LockClient[] = [];
  try {
    await work({
      lockd,
      disks,
      client: async (pid = process.ppid) => {
        const client = await LockClient.connect(lockd.socket);
        clients.push(client);
        const owner = { uuid, name: 'web1', id: 1, pid };
        assert.equal(await client.call({ call: 'register', owner, flags: 0 }), undefined);
        return client;
      },
    });
  } finally {
    for (const client of clients) client.close();
    lockd.stop();
  }
}

async function acquire(client: LockClient, disk: string): Promise<string> {
  const error = await client.call({ call: 'acquire', path: '', name: disk, flags: 0 });
  return error?.message ?? 'ok';
}

async function release(client: LockClient, disk: string): Promise<string> {
  const error = await client.call({ call: 'release', path: '', name: disk, flags: 0 });
  return error?.message ?? 'ok';
}

async function acquireAll({ client, disks }: Case): Promise<void> {
  const connection = await client();
  for (const disk of disks) assert.equal(await acquire(connection, disk), 'ok');
  connection.close();
}

/** All of them are held as they were told, and each can be given back. */
async function releaseAll({ client, disks }: Case): Promise<void> {
  const connection = await client();
  for (const disk of disks) {
    assert.equal(lockOn(disk), 'write');
    assert.equal(await release(connection, disk), 'ok');
    assert.equal(lockOn(disk), 'none');
  }
}

describe('keeper and daemon', { skip: lacks('root') }, () => {
  before(async () => {
    programs = await buildLockd(folder);
  });
  after(() => rmSync(programs, { recursive: true, force: true }));

  test('the daemon is killed again and again; nobody else ever gets a disk', () =>
    withLockd(20, async (given) => {
      const { lockd, disks } = given;
      await acquireAll(given);
      const thief = await startThief(disks);
      for (let time = 2; time <= 6; time++) {
        process.kill(lockd.daemonPid(), 'SIGKILL');
        await lockd.served(time);
      }
      const { tries, got } = await thief.stop();
      assert.ok(tries > disks.length);
      assert.deepEqual(got, []);
      await releaseAll(given);
    }));

  test('the keeper takes no processor from the daemon, and the daemon is an ordinary process', () =>
    withLockd(1, async ({ lockd }) => {
      const policies = (): unknown[] => [lockd.currentKeeper(), lockd.daemonPid()].map(policyOf);
      await until(() => policies()[0] === 'batch', 'the keeper to have started its daemon');
      assert.deepEqual(policies(), ['batch', 'other']);
      process.kill(lockd.daemonPid(), 'SIGKILL');
      await lockd.served(2);
      await until(() => policies()[0] === 'batch', 'the keeper to have started another');
      assert.deepEqual(policies(), ['batch', 'other']);
    }));

  test('ten thousand locks are there again, and nobody has to wait long for that', () =>
    withLockd(10_000, async (given) => {
      const { lockd, disks, client } = given;
      await acquireAll(given);
      process.kill(lockd.daemonPid(), 'SIGKILL');
      await lockd.served(2);
      const serving = lockd.lines.findLast(({ message }) => message === 'serving') ?? { start: undefined };
      assert.deepEqual(serving['start'], {
        news: 'ready',
        adopted: 10_000,
        takenAgain: 0,
        lost: [],
        notUnderstood: [],
      });
      const connection = await client();
      for (const disk of disks.filter((_, index) => index % 1_000 === 0)) {
        assert.equal(lockOn(disk), 'write');
        assert.equal(await release(connection, disk), 'ok');
        assert.equal(lockOn(disk), 'none');
      }
    }));

  test('what a daemon gave before it was killed is read from the queue', () =>
    withLockd(50, async (given) => {
      const { lockd, disks, client } = given;
      const connection = await client();
      // The keeper stands still: it reads nothing before the daemon has ended.
      process.kill(lockd.keeperPid, 'SIGSTOP');
      for (const disk of disks) assert.equal(await acquire(connection, disk), 'ok');
      process.kill(lockd.daemonPid(), 'SIGKILL');
      await until(() => !isAlive(lockd.daemonPid()), 'the end of the daemon');
      assert.deepEqual([...new Set(disks.map(lockOn))], ['write']);
      process.kill(lockd.keeperPid, 'SIGCONT');
      await lockd.served(2);
      // Not taken again from the journal, after a gap.
      const serving = lockd.lines.findLast(({ message }) => message === 'serving');
      const { adopted, takenAgain } = (serving ?? { start: {} })['start'] as TakenUp;
      assert.deepEqual([adopted, takenAgain], [50, 0]);
      await releaseAll(given);
    }));

  test('who asks again for what an earlier daemon gave keeps it, and a release that follows is not believed', () =>
    withLockd(2, async ({ lockd, disks: [asked = '', other = ''], client }) => {
      const guest = spawn('sleep', ['1000']);
      const before = await client(guest.pid);
      for (const disk of [asked, other]) assert.equal(await acquire(before, disk), 'ok');
      process.kill(lockd.daemonPid(), 'SIGKILL');
      await lockd.served(2);
      const [own, stranger] = [await client(guest.pid), await client()];
      assert.match(await acquire(stranger, asked), /is locked by guest "web1"/);
      assert.equal(await acquire(own, asked), 'ok');
      assert.match(await release(stranger, asked), /does not hold the resource lock/);
      // It has the disk already, and is refused by QEMU; it goes on with what it had.
      assert.equal(await release(own, asked), 'ok');
      assert.equal(lockOn(asked), 'write');
      assert.equal(await release(own, other), 'ok');
      assert.equal(lockOn(other), 'none');
      guest.kill('SIGKILL');
      await untilFree(asked);
    }));

  test('an owner that ends while no daemon runs is noticed by the next one', () =>
    withLockd(1, async ({ lockd, disks: [disk = ''], client }) => {
      const guest = spawn('sleep', ['1000']);
      assert.equal(await acquire(await client(guest.pid), disk), 'ok');
      process.kill(lockd.keeperPid, 'SIGSTOP');
      process.kill(lockd.daemonPid(), 'SIGKILL');
      guest.kill('SIGKILL');
      await until(() => !isAlive(guest.pid ?? 0), 'the end of the guest');
      assert.equal(lockOn(disk), 'write');
      process.kill(lockd.keeperPid, 'SIGCONT');
      await untilFree(disk);
    }));

  test('SIGHUP: another daemon, and no gap', () =>
    withLockd(10, async (given) => {
      const { lockd, disks } = given;
      await acquireAll(given);
      const thief = await startThief(disks);
      const before = lockd.daemonPid();
      process.kill(lockd.keeperPid, 'SIGHUP');
      await lockd.served(2);
      assert.notEqual(lockd.daemonPid(), before);
      assert.equal(isAlive(before), false);
      assert.deepEqual((await thief.stop()).got, []);
      await releaseAll(given);
    }));

  test('SIGTERM: all ends, and the locks with it; the next one takes them again', () =>
    withLockd(3, async (given) => {
      const { lockd, disks } = given;
      await acquireAll(given);
      process.kill(lockd.keeperPid, 'SIGTERM');
      await lockd.said('stopped');
      await until(() => !isAlive(lockd.keeperPid), 'the end of the keeper');
      assert.equal(isAlive(lockd.daemonPid()), false);
      // The kernel closes what was still in a socket's queue a moment later.
      for (const disk of disks) await untilFree(disk);
      assert.equal(existsSync(`${lockd.socket}.keeper`), false);
      const next = await startLockd(programs, join(lockd.socket, '..'));
      const [serving] = next.lines.filter(({ message }) => message === 'serving');
      assert.deepEqual(serving?.['start'], {
        news: 'ready',
        adopted: 0,
        takenAgain: 3,
        lost: [],
        notUnderstood: [],
      });
      assert.deepEqual([...new Set(disks.map(lockOn))], ['write']);
      next.stop();
    }));

  test('a daemon that cannot start is tried again, less and less often', () =>
    withLockd(0, async ({ lockd }) => {
      const program = join(programs, 'lockd-daemon.js');
      const sound = readFileSync(program);
      writeFileSync(program, 'process.exit(3);');
      try {
        const start = performance.now();
        process.kill(lockd.daemonPid(), 'SIGKILL');
        await lockd.said('the daemon was started', 6);
        // 0, 50, 100, 200 and 400 ms.
        assert.ok(performance.now() - start >= 750);
      } finally {
        writeFileSync(program, sound);
      }
      await lockd.served(2);
    }));

  test('a keeper that has no descriptors left keeps what it has, and starts a daemon when there are some again', () =>
    withLockd(5, async (given) => {
      const { lockd, disks } = given;
      await acquireAll(given);
      const thief = await startThief(disks);
      const open = readdirSync(`/proc/${lockd.keeperPid}/fd`).length;
      const limit = (count: number): unknown =>
        execFileSync('prlimit', ['--pid', `${lockd.keeperPid}`, `--nofile=${count}:`]);
      for (let more = -4; more <= 5; more += 3) {
        const served = lockd.lines.filter(({ message }) => message === 'serving').length;
        // Each time something else of what it does is the first that fails.
        limit(open + more);
        const ended = lockd.lines.filter(({ message }) => message === 'the daemon ended').length;
        process.kill(lockd.daemonPid(), 'SIGKILL');
        await lockd.said('the daemon ended', ended + 1);
        await new Promise((resolve) => setTimeout(resolve, 150));
        limit(4096);
        await lockd.served(served + 1);
      }
      await lockd.said('the daemon could not be started');
      // Nor is it the end of it that another one connects; that one is heard later.
      limit(3);
      lockd.takeOver();
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      assert.ok(isAlive(lockd.keeperPid));
      limit(4096);
      await lockd.said('taken over');
      assert.deepEqual((await thief.stop()).got, []);
      await releaseAll(given);
    }));

  test('the keeper is killed: the daemon starts another one, which has everything', () =>
    withLockd(20, async (given) => {
      const { lockd, disks, client } = given;
      await acquireAll(given);
      const daemon = lockd.daemonPid();
      const thief = await startThief(disks.slice(1));
      for (let time = 2; time <= 4; time++) {
        process.kill(lockd.currentKeeper(), 'SIGKILL');
        await lockd.said('keeping', time);
      }
      assert.equal(lockd.daemonPid(), daemon);
      assert.ok(isAlive(daemon), 'it has served all the time');
      const [first = ''] = disks;
      const connection = await client();
      assert.equal(await release(connection, first), 'ok');
      assert.equal(await acquire(connection, first), 'ok');
      process.kill(daemon, 'SIGKILL');
      await lockd.served(2);
      assert.deepEqual((await thief.stop()).got, []);
      await releaseAll(given);
      process.kill(lockd.currentKeeper(), 'SIGTERM');
      await lockd.said('stopped');
      await until(() => !isAlive(lockd.daemonPid()), 'the end of the daemon');
    }));

  test('both are killed: the locks are taken again at once, but for what somebody else has by then', () =>
    withLockd(5, async ({ lockd, disks, client, ...given }) => {
      await acquireAll({ lockd, disks, client, ...given });
      const [stolen = '', ...others] = disks;
      lockd.killBoth();
      await untilFree(stolen);
      const fd = openSync(stolen, 'r+');
      assert.equal(tryLock(fd, 'write', 0), true);
      const next = await startLockd(programs, join(lockd.socket, '..'));
      try {
        const serving = next.lines.find(({ message }) => message === 'serving') ?? { start: {} };
        const { takenAgain, lost } = serving['start'] as { takenAgain: number; lost: string[] };
        assert.deepEqual([takenAgain, lost.length], [4, 1]);
        assert.ok(lost[0]?.includes(stolen));
        closeSync(fd);
        await releaseAll({ lockd: next, disks: others, client });
      } finally {
        next.stop();
      }
    }));

  test('another keeper takes over: one daemon after the other, and no gap', () =>
    withLockd(20, async (given) => {
      const { lockd, disks } = given;
      await acquireAll(given);
      const thief = await startThief(disks);
      for (let time = 1; time <= 3; time++) {
        const [keeper, daemon] = [lockd.currentKeeper(), lockd.daemonPid()];
        lockd.takeOver();
        await lockd.said('taken over', time);
        await lockd.served(time + 1);
        await until(() => !isAlive(keeper), 'the end of the keeper before');
        assert.equal(isAlive(daemon), false);
        const order = lockd.lines.map((line) => line.message);
        assert.ok(order.lastIndexOf('the daemon ended') < order.lastIndexOf('the daemon was started'));
      }
      process.kill(lockd.daemonPid(), 'SIGKILL');
      await lockd.served(5);
      assert.deepEqual((await thief.stop()).got, []);
      await releaseAll(given);
    }));

  test('another keeper that dies before it has taken over: the next one can', () =>
    withLockd(3, async (given) => {
      const { lockd, disks } = given;
      await acquireAll(given);
      const thief = await startThief(disks);
      lockd.takeOver({ LOCKD_NEVER_TAKES: '1' });
      await lockd.said('another keeper takes over');
      await lockd.said('the other keeper went away');
      await lockd.served(2);
      assert.ok(isAlive(lockd.keeperPid));
      lockd.takeOver();
      await lockd.said('taken over');
      await lockd.served(3);
      await until(() => !isAlive(lockd.keeperPid), 'the end of the keeper before');
      assert.deepEqual((await thief.stop()).got, []);
      await releaseAll(given);
    }));

  test('who wants to take over and goes away again changes nothing', () =>
    withLockd(3, async (given) => {
      const { lockd, disks } = given;
      await acquireAll(given);
      const thief = await startThief(disks);
      const say = (version: string): number => {
        const fd = connectMessages(`${lockd.socket}.keeper`);
        const writer = new KeepWriter(fd);
        writer.add(keepKind.give, 0, version, []);
        writer.commit();
        return fd;
      };
      const stranger = say('of another century');
      await lockd.said('the other keeper went away', 1);
      assert.equal(lockd.lines.filter(({ message }) => message === 'the daemon ended').length, 0);
      closeSync(stranger);
      closeSync(say('1'));
      await lockd.said('another keeper takes over');
      await lockd.said('the other keeper went away', 2);
      await lockd.served(2);
      const late = say('1');
      await lockd.said('another keeper takes over', 2);
      await lockd.said('the daemon ended', 2);
      closeSync(late);
      await lockd.served(3);
      assert.deepEqual((await thief.stop()).got, []);
      await releaseAll(given);
    }));
});
