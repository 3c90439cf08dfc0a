/** A migration, as libvirt asks for it: the source gives back, then the destination takes, and nobody steps in between. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { acquire, endGuests, newGuest, newHost, release } from '../../beds/cluster-guests.js';
import type { ClusterHost } from '../../beds/cluster-host.js';
import { startEtcd, type EtcdCluster } from '../../beds/etcd.js';
import { privateFolder } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = privateFolder();

describe('what is given back', { skip: lacks('root', 'unshare', 'etcd') }, () => {
  let etcd: EtcdCluster;
  let source: ClusterHost;
  let destination: ClusterHost;
  let third: ClusterHost;
  before(async () => {
    etcd = await startEtcd(folder);
    const { endpoints } = etcd;
    // Longer than a busy machine takes from one to the other; that of the third is waited for.
    source = await newHost(folder, 'hosta', { endpoints, reserve: '30s' });
    destination = await newHost(folder, 'hostb', { endpoints, reserve: '30s' });
    third = await newHost(folder, 'hostc', { endpoints, reserve: '3s' });
  });
  after(async () => {
    endGuests();
    for (const host of [source, destination, third]) await host?.stop();
    await etcd?.stop();
  });

  test('stays for the same guest: forth and back, while another host tries all the time', async () => {
    const here = newGuest('web1');
    const there = newGuest('web1', here.uuid);
    const thief = newGuest('thief');
    const disks = ['a1', 'a2'];
    for (const name of disks) assert.equal(await acquire(source, here, name), 'ok');
    const told = new Set<string>();
    let over = false;
    const tries = (async () => {
      while (!over) for (const name of disks) told.add((await acquire(third, thief, name)).slice(0, 2));
    })();
    try {
      for (let round = 0; round < 5; round++) {
        for (const name of disks) assert.equal(await release(source, here, name), 'ok');
        await pause(100);
        for (const name of disks) assert.equal(await acquire(destination, there, name), 'ok');
        for (const name of disks) assert.equal(await release(destination, there, name), 'ok');
        for (const name of disks) assert.equal(await acquire(source, here, name), 'ok');
      }
    } finally {
      over = true;
      await tries;
    }
    assert.deepEqual([...told], ['87']);
    for (const name of disks) assert.equal(await release(source, here, name), 'ok');
  });

  test('is free for all when its time is over, and the refusal says until when', async () => {
    const [web1, web2] = [newGuest('web1'), newGuest('web2')];
    assert.equal(await acquire(third, web1, 'b1'), 'ok');
    assert.equal(await release(third, web1, 'b1'), 'ok');
    const said = await acquire(source, web2, 'b1');
    assert.match(
      said,
      /^87 .*'b1' is locked by a reservation for guest "web1" until \d{4}-\d\d-\d\dT[\d:]+Z$/,
    );
    await until(async () => (await acquire(source, web2, 'b1')) === 'ok', 'the reservation to end');
    // It did not end with what came after it.
    await pause(500);
    assert.match(await acquire(third, web1, 'b1'), /^87 .* by guest "web2"/);
    assert.equal(await release(source, web2, 'b1'), 'ok');
  });

  test('by the end of its process is free at once', async () => {
    const [web1, web2] = [newGuest('web1'), newGuest('web2')];
    assert.equal(await acquire(source, web1, 'c1'), 'ok');
    web1.process.kill('SIGKILL');
    const answers: string[] = [];
    await until(async () => {
      answers.push(await acquire(third, web2, 'c1'));
      return answers.at(-1) === 'ok';
    }, 'the lock of a guest that has ended');
    assert.ok(answers.every((answer) => !answer.includes('reservation')));
  });
});
