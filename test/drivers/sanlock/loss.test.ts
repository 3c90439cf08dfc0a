/** What the end of a sanlock daemon means for who has leases of it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import sanlockDriver from '../../../src/drivers/sanlock/sanlock.js';
import type { LockRequest, Owner } from '../../../src/vocabulary.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { makeLease, makeLockspace, startSanlock } from '../../beds/sanlock.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = privateRuntime();
const { signal } = new AbortController();
const owner: Owner = {
  kind: 'command',
  name: 'web1',
  uuid: '3b8f9d0e-0000-4000-8000-000000000001',
  pid: process.pid,
  startTime: 1,
  host: 'a',
  hostId: 'b',
};

test(
  'the end of the daemon is a loss; a new one gives the leases of before, if nobody had them',
  { skip: lacks('sanlock') },
  async () => {
    const file = await makeLockspace(join(folder, 'leases'), 'cluster');
    const disk = await makeLease(file, 0);
    const requests: LockRequest[] = [{ resource: disk, mode: 'exclusive' }];
    let host = await startSanlock(folder, 'host');
    Object.assign(process.env, host.env);
    try {
      await host.join(file, 1);
      const driver = await sanlockDriver.start({ qemu_sanlock_conf: '/nonexistent' });
      const grant = await driver.acquire(owner, requests, { signal });
      await host.stop();
      // Who looks whether the daemon is there keeps no process alive.
      const awake = setInterval(() => undefined, 1000);
      const loss = await grant.lost;
      clearInterval(awake);
      assert.match(loss?.reason ?? '', /daemon has ended/);
      assert.deepEqual(loss?.resources, [disk.label]);
      await assert.rejects(driver.acquire(owner, requests, { signal }), { code: 'DRIVER_FAILED' });
      host = await startSanlock(folder, 'host');
      await host.join(file, 1);
      const resumed = (await driver.resume?.(grant, { signal })) ?? assert.fail();
      assert.deepEqual(resumed.tokens, { [disk.identity]: 'cluster:lease-0:2' });
      await driver.release(resumed);
      await until(async () => !/^r /m.test(await host.client('status')), 'nothing to be held');
    } finally {
      await host.stop();
    }
  },
);
