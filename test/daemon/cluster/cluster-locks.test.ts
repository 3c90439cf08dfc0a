/** libvirt's locks in a cluster: two daemons as on two hosts, and a real etcd. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  acquire,
  autocreate,
  endGuests,
  newGuest,
  newHost,
  release,
  shared,
  type Guest,
} from '../../beds/cluster-guests.js';
import type { ClusterHost } from '../../beds/cluster-host.js';
import { startEtcd, type EtcdCluster } from '../../beds/etcd.js';
import { privateFolder } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = privateFolder();
const needed = lacks('root', 'unshare', 'etcd');

describe('locks of libvirt in a cluster', { skip: needed }, () => {
  let etcd: EtcdCluster;
  let one: ClusterHost;
  let two: ClusterHost;
  before(async () => {
    etcd = await startEtcd(folder);
    const { endpoints } = etcd;
    [one, two] = (await Promise.all(
      ['hosta', 'hostb'].map((name) => newHost(folder, name, { endpoints, reserve: '0s' })),
    )) as [ClusterHost, ClusterHost];
  });
  after(async () => {
    endGuests();
    await one?.stop();
    await two?.stop();
    await etcd?.stop();
  });

  const isHeld = (name: string, by: Guest, host: string) => (said: string) => {
    const begins = `87 resource busy: Lockspace resource '${name}' is locked by guest "${by.name}"`;
    return said.startsWith(begins) && said.includes(` on ${host} `) && said.includes(`pid ${by.process.pid}`);
  };

  test('what the one has locked the other does not get, and is told who has it where', async () => {
    const [web1, web2] = [newGuest('web1'), newGuest('web2')];
    assert.equal(await acquire(one, web1, 'd1'), 'ok');
    const said = await acquire(two, web2, 'd1');
    assert.ok(isHeld('d1', web1, 'hosta')(said), said);
    // Nothing is left of the attempt.
    assert.equal(await acquire(two, web2, 'd2'), 'ok');
    assert.ok(isHeld('d2', web2, 'hostb')(await acquire(one, web1, 'd2')));
    assert.equal(await release(one, web1, 'd1'), 'ok');
  });

  test('a guest has one life: with the first of its disks it is locked itself, and with the last it is free', async () => {
    const here = newGuest('web1');
    const there = newGuest('web1', here.uuid);
    assert.equal(await acquire(one, here, 'e1'), 'ok');
    assert.equal(await acquire(one, here, 'e2'), 'ok');
    const said = await acquire(two, there, 'e3');
    assert.ok(isHeld('e3', here, 'hosta')(said), said);
    assert.equal(await release(one, here, 'e1'), 'ok');
    assert.ok(isHeld('e3', here, 'hosta')(await acquire(two, there, 'e3')));
    assert.equal(await release(one, here, 'e2'), 'ok');
    assert.equal(await acquire(two, there, 'e3'), 'ok');
    assert.equal(await release(two, there, 'e3'), 'ok');
  });

  test('what a process had ends with it', async () => {
    const [web1, web2] = [newGuest('web1'), newGuest('web2')];
    assert.equal(await acquire(one, web1, 'f1'), 'ok');
    assert.equal(await acquire(one, web1, 'f2'), 'ok');
    web1.process.kill('SIGKILL');
    await until(async () => (await acquire(two, web2, 'f1')) === 'ok', 'the lock of a guest that has ended');
    assert.equal(await acquire(two, web2, 'f2'), 'ok');
    web2.process.kill('SIGKILL');
  });

  test('sharers share among hosts, and nobody has it alone meanwhile', async () => {
    const [a, b, c] = [newGuest('a'), newGuest('b'), newGuest('c')];
    assert.equal(await acquire(one, a, 'g1', autocreate | shared), 'ok');
    assert.match(await acquire(two, c, 'g1'), /^87 .* is locked by guest "a"/);
    assert.equal(await release(one, a, 'g1'), 'ok');
    assert.equal(await acquire(two, c, 'g1'), 'ok');
    assert.match(await acquire(one, b, 'g1', autocreate | shared), /^87 .* is locked by guest "c"/);
    assert.equal(await release(two, c, 'g1'), 'ok');
  });

  test('rules of the protocol hold as without a cluster', async () => {
    const web1 = newGuest('web1');
    assert.match(await release(one, web1, 'h1'), /^87 .*'h1' is not locked/);
    assert.equal(await acquire(one, web1, 'h1'), 'ok');
    assert.match(await acquire(one, web1, 'h1'), /^87 .*'h1' is locked by guest "web1"/);
    assert.match(await release(one, newGuest('web2'), 'h1'), /^1 .*does not hold the resource lock/);
    assert.equal(await release(one, web1, 'h1'), 'ok');
    assert.match(await release(one, web1, 'h1'), /^87 .*'h1' is not locked/);
  });

  test('calls that come while the answer waits get the same one, or are refused', async () => {
    const [web1, web2] = [newGuest('web1'), newGuest('web2')];
    etcd.members[0]?.signal('SIGSTOP');
    const tries = [acquire(one, web1, 'i1'), acquire(one, web1, 'i1')];
    await until(
      async () => (await acquire(one, web2, 'i1')).startsWith('87 '),
      'the lock to be there for others',
    );
    etcd.members[0]?.signal('SIGCONT');
    assert.deepEqual(await Promise.all(tries), ['ok', 'ok']);
    assert.equal(await release(one, web1, 'i1'), 'ok');
  });

  test('a guest that ends while it waits has nothing', async () => {
    const [web1, web2] = [newGuest('web1'), newGuest('web2')];
    etcd.members[0]?.signal('SIGSTOP');
    const waits = acquire(one, web1, 'j1').catch((error: Error) => error.message);
    await until(async () => (await acquire(one, web2, 'j1')).startsWith('87 '), 'the first to have asked');
    web1.process.kill('SIGKILL');
    etcd.members[0]?.signal('SIGCONT');
    assert.notEqual(await waits, 'ok');
    await until(async () => (await acquire(two, web2, 'j1')) === 'ok', 'the lock to be free');
    assert.equal(await release(two, web2, 'j1'), 'ok');
  });

  test('who gives back what it still waits for gets neither; without etcd nothing new is locked', async () => {
    const [web1, web2] = [newGuest('web1'), newGuest('web2')];
    etcd.members[0]?.signal('SIGSTOP');
    const waits = acquire(one, web1, 'k1');
    await until(async () => (await acquire(one, web2, 'k1')).startsWith('87 '), 'the first to have asked');
    assert.equal(await release(one, web1, 'k1'), 'ok');
    assert.match(await waits, /^29 .*'k1' was given back meanwhile/);
    const said = await acquire(one, web2, 'k2');
    etcd.members[0]?.signal('SIGCONT');
    assert.match(said, /^1 .*'k2' cannot be locked in the cluster: /);
    await until(async () => (await acquire(two, web2, 'k1')) === 'ok', 'the lock to be free');
    assert.equal(await release(two, web2, 'k1'), 'ok');
  });
});
