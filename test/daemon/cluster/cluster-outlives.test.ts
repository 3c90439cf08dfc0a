/** Daemons that end: what their guests have in the cluster stays theirs, and nobody gets it in between. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { acquire, endGuests, newGuest, newHost, release, type Guest } from '../../beds/cluster-guests.js';
import type { ClusterHost } from '../../beds/cluster-host.js';
import { startEtcd, type EtcdCluster } from '../../beds/etcd.js';
import { isAlive } from '../../beds/lockd.js';
import { privateFolder } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = privateFolder();
/** A daemon starts in half a second, and on a host that is busy with other things in some. */
const ttl = 10;

describe('a daemon that ends', { skip: lacks('root', 'unshare', 'etcd') }, () => {
  let etcd: EtcdCluster;
  let one: ClusterHost;
  let two: ClusterHost;
  before(async () => {
    etcd = await startEtcd(folder);
    const { endpoints } = etcd;
    one = await newHost(folder, 'hosta', { endpoints, ttl, reserve: '0s' });
    two = await newHost(folder, 'hostb', { endpoints, ttl, reserve: '0s' });
  });
  after(async () => {
    endGuests();
    await one?.stop();
    await two?.stop();
    await etcd?.stop();
  });

  /** Another host tries all the time; gives what it was told, each answer once. */
  async function whileTried(name: string, thief: Guest, work: () => Promise<void>): Promise<Set<string>> {
    const told = new Set<string>();
    let over = false;
    const tries = (async () => {
      while (!over) told.add((await acquire(two, thief, name)).slice(0, 2));
    })();
    try {
      await work();
    } finally {
      over = true;
      await tries;
    }
    return told;
  }

  const takenUp = (): number => one.log().filter(({ msg }) => msg === 'cluster: taken up').length;

  test('killed again and again: the next one goes on, and the guest is not touched', async () => {
    const [web1, thief] = [newGuest('web1'), newGuest('thief')];
    for (const name of ['a1', 'a2']) assert.equal(await acquire(one, web1, name), 'ok');
    const guards = [one.guardPid() ?? 0];
    const told = await whileTried('a2', thief, async () => {
      for (let round = 1; round <= 3; round++) {
        await one.killDaemon();
        await until(() => takenUp() >= round, 'the locks to be taken up');
        await until(() => guards.every((pid) => !isAlive(pid)), 'the guard before to end');
        guards.push(one.guardPid() ?? 0);
      }
      // Longer than the lease of any of them lived.
      await pause(ttl * 1000 + 1_000);
    });
    assert.deepEqual([...told], ['87']);
    assert.ok(isAlive(web1.process.pid ?? 0));
    assert.ok(isAlive(one.guardPid() ?? 0));
    for (const name of ['a1', 'a2']) assert.equal(await release(one, web1, name), 'ok');
    assert.equal(await acquire(two, newGuest('web2'), 'a1'), 'ok');
  });

  test('with its keeper, and started again', async () => {
    const [web1, thief] = [newGuest('web1'), newGuest('thief')];
    assert.equal(await acquire(one, web1, 'b1'), 'ok');
    const before_ = takenUp();
    const told = await whileTried('b1', thief, async () => {
      await one.killBoth();
      await one.start();
      await until(() => takenUp() > before_, 'the locks to be taken up');
      await pause(ttl * 1000);
    });
    assert.deepEqual([...told], ['87']);
    assert.ok(isAlive(web1.process.pid ?? 0));
    assert.equal(await release(one, web1, 'b1'), 'ok');
  });

  test('an ordinary stop, and a start', async () => {
    const web1 = newGuest('web1');
    assert.equal(await acquire(one, web1, 'c1'), 'ok');
    const before_ = takenUp();
    await one.stop();
    await one.start();
    // The journal of the one before says that it was held.
    await until(() => takenUp() > before_, 'the locks to be taken up');

    const said = await acquire(two, newGuest('web2'), 'c1');
    assert.match(said, /^87 /);
    assert.equal(await release(one, web1, 'c1'), 'ok');
  });

  test('a guest that ends while no daemon runs: another host gets its disk', async () => {
    const [web1, web2] = [newGuest('web1'), newGuest('web2')];
    assert.equal(await acquire(one, web1, 'd1'), 'ok');
    await one.killBoth();
    web1.process.kill('SIGKILL');
    await one.start();
    await until(async () => (await acquire(two, web2, 'd1')) === 'ok', 'the lock of a guest that has ended');
    assert.equal(await release(two, web2, 'd1'), 'ok');
  });

  test('with nobody left but the guard, the guest ends before its lock does', async () => {
    const [web1, web2] = [newGuest('web1'), newGuest('web2')];
    assert.equal(await acquire(one, web1, 'e1'), 'ok');
    await one.killBoth();
    let alive = true;
    await until(async () => {
      const answer = await acquire(two, web2, 'e1');
      alive = isAlive(web1.process.pid ?? 0);
      return answer === 'ok';
    }, 'the lease to end');
    assert.equal(alive, false);
    await one.start();
  });
});
