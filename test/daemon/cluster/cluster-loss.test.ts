/** Locks that are lost: the guest ends before anybody else can have its disk, whoever still runs. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { acquire, endGuests, newGuest, newHost, release, type Guest } from '../../beds/cluster-guests.js';
import type { ClusterHost } from '../../beds/cluster-host.js';
import { startEtcd, type EtcdCluster } from '../../beds/etcd.js';
import { isAlive } from '../../beds/lockd.js';
import { privateFolder } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = privateFolder();
const ttl = 6;

describe('a lock that is lost', { skip: lacks('root', 'unshare', 'etcd') }, () => {
  let etcd: EtcdCluster;
  let two: ClusterHost;
  let hosts = 0;
  const started: ClusterHost[] = [];
  before(async () => {
    etcd = await startEtcd(folder);
    two = await newHost(folder, 'hostb', { endpoints: etcd.endpoints, ttl, reserve: '0s' });
  });
  afterEach(async () => {
    for (const host of started.splice(0)) await host.stop();
  });
  after(async () => {
    endGuests();
    await two?.stop();
    await etcd?.stop();
  });

  /** A host of the test's own, with a guest that has a disk. */
  async function hostWith(
    disk: string,
    guest: Guest,
    { daemon = '', leaseSeconds = ttl } = {},
  ): Promise<ClusterHost> {
    const host = await newHost(folder, `hosta${++hosts}`, {
      endpoints: etcd.endpoints,
      ttl: leaseSeconds,
      reserve: '0s',
      daemon,
    });
    started.push(host);
    assert.equal(await acquire(host, guest, disk), 'ok');
    return host;
  }

  const lives = ({ process }: Guest): boolean => isAlive(process.pid ?? 0);

  /** Whether the guest still ran when another host got its disk. */
  async function isAliveWhenTaken(disk: string, guest: Guest): Promise<boolean> {
    const thief = newGuest('thief');
    let alive = true;
    await until(
      async () => {
        const answer = await acquire(two, thief, disk);
        alive = lives(guest);
        return answer === 'ok';
      },
      'another host to get it',
      40_000,
    );
    assert.equal(await release(two, thief, disk), 'ok');
    return alive;
  }

  test('etcd is away: guests are told to end, and the stubborn killed; with etcd back all goes on', async () => {
    const [mild, stubborn] = [newGuest('mild'), newGuest('stubborn', undefined, true)];
    const one = await hostWith('a1', mild);
    assert.equal(await acquire(one, stubborn, 'a2'), 'ok');
    etcd.members[0]?.signal('SIGSTOP');
    await until(() => !lives(mild) && !lives(stubborn), 'the guests to end');
    etcd.members[0]?.signal('SIGCONT');
    assert.equal(await isAliveWhenTaken('a2', stubborn), false);
    const next = newGuest('next');
    await until(async () => (await acquire(one, next, 'a1')) === 'ok', 'the host to lock again');
    assert.ok(one.log().some(({ msg }) => msg === 'cluster: lost'));
    assert.equal(await release(one, next, 'a1'), 'ok');
  });

  test('the daemon and its keeper stand still: the guard ends the guest', async () => {
    const guest = newGuest('web1', undefined, true);
    const one = await hostWith('b1', guest);
    const pids = [one.keeperPid, one.daemonPid()];
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    assert.equal(await isAliveWhenTaken('b1', guest), false);
    for (const pid of pids) process.kill(pid, 'SIGCONT');
  });

  test('a guard that is killed is replaced', async () => {
    const guest = newGuest('web1', undefined, true);
    const one = await hostWith('c1', guest);
    const first = one.guardPid() ?? 0;
    process.kill(first, 'SIGKILL');
    await until(() => one.guardPid() !== first && isAlive(one.guardPid() ?? 0), 'another guard');
    const pids = [one.keeperPid, one.daemonPid()];
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    assert.equal(await isAliveWhenTaken('c1', guest), false);
    for (const pid of pids) process.kill(pid, 'SIGCONT');
  });

  test('a lock that somebody has broken: its guest alone is stopped', async () => {
    const [web1, web2] = [newGuest('web1'), newGuest('web2')];
    const one = await hostWith('d1', web1);
    assert.equal(await acquire(one, web2, 'd2'), 'ok');
    const client = await etcd.client();
    const all = await client.range({ key: 'holdfast/v1/locks/', rangeEnd: 'holdfast/v1/locks0' });
    const [key] = all.kvs.map((kv) => kv.key.toString()).filter((name) => name.includes('d1'));
    await client.txn({ compare: [], success: [{ delete: { key: key ?? '' } }], failure: [] });
    await until(() => !lives(web1), 'the guest to end');
    assert.ok(lives(web2));
    assert.equal(await release(one, web2, 'd2'), 'ok');
  });

  const isStopped = ({ process: { pid, signalCode } }: Guest): boolean => {
    assert.equal(signalCode, null, 'by this it has ended');
    return /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  };

  test('guests that are to be paused are; they go on when their locks are held again, and not before', async () => {
    const guest = newGuest('web1');
    const one = await hostWith('e1', guest, { daemon: 'on_lost = "pause"', leaseSeconds: 10 });
    etcd.members[0]?.signal('SIGSTOP');
    try {
      await until(() => isStopped(guest), 'the guest to be stopped', 60_000);
      guest.process.kill('SIGCONT');
      await until(() => isStopped(guest), 'it to be stopped again', 60_000);
    } finally {
      etcd.members[0]?.signal('SIGCONT');
    }
    const goesOn = (): boolean => one.log().some(({ msg }) => msg === 'cluster: guest goes on');
    await until(goesOn, 'its locks to be held again', 60_000);
    assert.ok(one.log().some(({ msg, action }) => msg === 'cluster: lost' && action === 'pause'));
    // Long enough for the guard of the lease before: what that stopped again would stay so.
    await pause(1_000);
    await until(() => !isStopped(guest), 'it to go on', 60_000);
    assert.match(await acquire(two, newGuest('thief'), 'e1'), /^87 .*web1/);
    // It is on the list of the guard of now.
    const pids = [one.keeperPid, one.daemonPid()];
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      await until(() => isStopped(guest), 'the guard to stop it', 60_000);
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
    // The daemon has not stopped it, and does not let it go on, though its locks are held again.
    const stays = (): boolean => one.log().some(({ msg }) => msg === 'cluster: guest stays stopped');
    await until(stays, 'the daemon to say so', 60_000);
    assert.ok(isStopped(guest));
    assert.equal(await release(one, guest, 'e1'), 'ok');
  });

  test('a guest that is paused stays so if somebody else had its disk meanwhile', async () => {
    const guest = newGuest('web1');
    const one = await hostWith('g1', guest, { daemon: 'on_lost = "pause"' });
    for (const pid of [one.keeperPid, one.daemonPid()]) process.kill(pid, 'SIGSTOP');
    try {
      // Had, and given back: the disk is free when the daemon looks again.
      await isAliveWhenTaken('g1', guest);
      assert.ok(isStopped(guest));
    } finally {
      for (const pid of [one.keeperPid, one.daemonPid()]) process.kill(pid, 'SIGCONT');
    }
    await until(() => one.log().some(({ msg }) => msg === 'cluster: lost'), 'the daemon to see it', 60_000);
    await pause(3_000);
    assert.ok(isStopped(guest));
    assert.ok(one.log().every(({ msg }) => msg !== 'cluster: guest goes on'));
  });

  test('an election, or an etcd that starts again, costs nobody a guest', async () => {
    const guest = newGuest('web1');
    // An etcd that starts takes 2 s until it answers, on a busy host some more.
    const one = await hostWith('f1', guest, { leaseSeconds: 10 });
    for (let round = 0; round < 2; round++) {
      await etcd.members[0]?.kill();
      await etcd.members[0]?.start();
      await until(
        async () => (await acquire(two, newGuest('thief'), 'f1')).startsWith('87 '),
        'etcd to answer',
      );
      // Renewals are a second apart.
      await pause(2_000);
    }
    assert.ok(lives(guest));
    assert.equal(await release(one, guest, 'f1'), 'ok');
  });
});
