/** A place in the queue that nobody has any more, because etcd took note of it after it was given up. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Driver, Grant } from '../../../src/driver/contract.js';
import etcdDriver from '../../../src/drivers/etcd/etcd.js';
import { Keys } from '../../../src/drivers/etcd/keys.js';
import { isHoldfastError } from '../../../src/errors.js';
import type { LockRequest, Owner } from '../../../src/vocabulary.js';
import { startEtcd, type EtcdCluster } from '../../beds/etcd.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { lacks } from '../../needs.js';

const folder = privateRuntime();
const signal = new AbortController().signal;
const identity = 'net:rbd:pool/left';
const resource = { kind: 'disk', identity, label: identity, storage: 'network', scope: 'cluster' } as const;
const wanted: readonly LockRequest[] = [{ resource, mode: 'exclusive' }];

function owner(name: string): Owner {
  return {
    ...{ kind: 'domain', name, uuid: randomUUID(), pid: 1, startTime: 1 },
    ...{ host: 'h', hostId: 'a'.repeat(32) },
  };
}

describe('a ticket that is left', { skip: lacks('etcd') }, () => {
  let cluster: EtcdCluster;
  let driver: Driver;
  before(async () => {
    cluster = await startEtcd(join(folder, 'etcd'));
    driver = await etcdDriver.start({ endpoints: cluster.endpoints });
  });
  after(async () => {
    await driver?.end?.();
    await cluster?.stop();
  });

  test('holds nobody up for longer than a moment, though its session lives', async () => {
    const first = await driver.acquire(owner('first'), wanted, { signal });
    const client = await cluster.client();
    const keys = new Keys('holdfast');
    const locks = await client.range(keys.allLocks());
    const lease = locks.kvs[0]?.lease ?? 0n;
    // A server that stood still, and took note of the ticket only after its removal.
    const key = keys.lock({ identity, mode: 'waiting', holder: `${lease.toString(16)}.fff` });
    await client.put({ key, value: '{}', lease });
    await driver.release(first);

    const waiting = owner('second');
    let second: Grant | undefined;
    for (let attempt = 0; second === undefined && attempt < 20; attempt++) {
      try {
        second = await driver.acquire(waiting, wanted, { signal });
      } catch (error) {
        if (!isHoldfastError(error, 'IN_USE')) throw error;
        await Promise.race([
          driver.wait?.(waiting, wanted, { signal }),
          new Promise((resolve) => setTimeout(resolve, 300)),
        ]);
      }
    }
    assert.ok(second !== undefined, 'nobody has it, and nobody gets it');
    await driver.release(second);
  });
});
