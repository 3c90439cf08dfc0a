/** What is given back and stays its guest's for a moment. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Driver, Grant } from '../../../src/driver/contract.js';
import etcdDriver from '../../../src/drivers/etcd/etcd.js';
import type { LockRequest, Owner } from '../../../src/vocabulary.js';
import { startEtcd, type EtcdCluster } from '../../beds/etcd.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = privateRuntime();
const signal = new AbortController().signal;

function guest(name: string, uuid: string = randomUUID()): Owner {
  return {
    ...{ kind: 'domain', name, uuid, pid: 1, startTime: 1 },
    ...{ host: 'h', hostId: 'a'.repeat(32) },
  };
}

function disks(...names: readonly string[]): readonly LockRequest[] {
  return names.map((name) => {
    const identity = `net:rbd::pool/${name}`;
    const resource = { kind: 'disk', identity, label: name, storage: 'network', scope: 'cluster' } as const;
    return { resource, mode: 'exclusive' };
  });
}

const identities = (grant: Grant): readonly string[] =>
  grant.requests.map(({ resource }) => resource.identity);

describe('locks that stay reserved', { skip: lacks('etcd') }, () => {
  let etcd: EtcdCluster;
  const drivers: Driver[] = [];
  const start = async (reserve: string): Promise<Driver> => {
    const driver = await etcdDriver.start({ endpoints: etcd.endpoints, reserve });
    drivers.push(driver);
    return driver;
  };
  before(async () => {
    etcd = await startEtcd(join(folder, 'etcd'));
  });
  after(async () => {
    for (const driver of drivers) await driver.end?.();
    await etcd?.stop();
  });

  test('the same guest takes them over elsewhere; nobody else does, and is told for whom they are', async () => {
    const [here, there] = [await start('30s'), await start('30s')];
    const web1 = guest('web1');
    const grant = await here.acquire(web1, disks('a', 'b'), { signal });
    await here.reserve?.(grant, identities(grant));
    await assert.rejects(there.acquire(guest('web2'), disks('a'), { signal }), (error: Error) => {
      assert.match(JSON.stringify(error), /"code":"IN_USE"/);
      assert.match(JSON.stringify(error), /web1/);
      return true;
    });
    const over = await there.acquire(guest('web1', web1.uuid), disks('a', 'b'), { signal });
    assert.equal(over.requests.length, 2);
    await there.release(over);
  });

  test('after the time they are everybody’s', async () => {
    const [here, there] = [await start('500ms'), await start('0s')];
    const grant = await here.acquire(guest('web1'), disks('c'), { signal });
    await here.reserve?.(grant, identities(grant));
    const web2 = guest('web2');
    let taken: Grant | undefined;
    await until(async () => {
      taken = await there.acquire(web2, disks('c'), { signal }).catch(() => undefined);
      return taken !== undefined;
    }, 'the disk to be free');
    if (taken !== undefined) await there.release(taken);
  });

  test('with no time they are free at once', async () => {
    const [here, there] = [await start('0s'), await start('0s')];
    for (let round = 0; round < 30; round++) {
      const grant = await here.acquire(guest('web1'), disks('d'), { signal });
      await here.reserve?.(grant, identities(grant));
      await there.release(await there.acquire(guest('web2'), disks('d'), { signal }));
    }
  });
});
