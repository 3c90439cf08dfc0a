/** Leases in each form that sanlock has: sectors of 512 and 4096 bytes, areas of 1 to 8 MiB, in files and on a device. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { readLeaseAreas } from '../../../src/drivers/sanlock/find-areas.js';
import { makeLeaseArea } from '../../../src/drivers/sanlock/lease-area.js';
import sanlockDriver from '../../../src/drivers/sanlock/sanlock.js';
import type { LockRequest, Owner } from '../../../src/vocabulary.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { leaseAt, startSanlock, type SanlockHost } from '../../beds/sanlock.js';
import { lacks } from '../../needs.js';

const folder = privateRuntime();
const MiB = 1024 * 1024;
const plain = { force: false };
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

describe('forms of leases', { skip: lacks('sanlock', 'losetup') }, () => {
  const deviceBytes = 32 * MiB;
  const forms = [
    [512, 1],
    [4096, 1],
    [4096, 2],
    [4096, 4],
    [4096, 8],
  ] as const;
  const file = (sectorBytes: number, mebibytes: number): string =>
    join(folder, `${sectorBytes}-${mebibytes}`);
  let host: SanlockHost;
  let device = '';

  before(async () => {
    host = await startSanlock(folder, 'alpha');
    Object.assign(process.env, host.env);
    const behind = join(folder, 'device.img');
    writeFileSync(behind, '');
    truncateSync(behind, deviceBytes);
    device = execFileSync('losetup', ['-f', '--show', '-b', '4096', behind], { encoding: 'utf8' }).trim();
    for (const [sectorBytes, mebibytes] of forms) {
      const place = {
        lockspace: `ls-${sectorBytes}-${mebibytes}`,
        path: file(sectorBytes, mebibytes),
        offset: 0,
      };
      await makeLeaseArea(place, { ...plain, sectorBytes, bytes: mebibytes * MiB });
    }
    await makeLeaseArea({ lockspace: 'ls-device', path: device, offset: 0 }, plain);
    // At once: each waits for the same times.
    await Promise.all([
      ...forms.map(([sector, size]) =>
        host.join({ lockspace: `ls-${sector}-${size}`, path: file(sector, size) }, 1),
      ),
      host.join({ lockspace: 'ls-device', path: device }, 1),
    ]);
  });
  after(async () => {
    await host?.stop();
    if (device !== '') execFileSync('losetup', ['-d', device]);
  });

  async function takeAndShow(
    lockspace: string,
    path: string,
    bytes: number,
    sectorBytes: number,
  ): Promise<void> {
    const offset = 8 * MiB;
    const { area } = await makeLeaseArea({ lockspace, name: 'a', path, offset }, plain);
    assert.deepEqual([area.bytes, area.sectorBytes, area.version], [bytes, sectorBytes, '0']);
    const resource = leaseAt(lockspace, 'a', path, offset);
    const requests: LockRequest[] = [{ resource, mode: 'exclusive' }];
    const driver = await sanlockDriver.start({ qemu_sanlock_conf: '/nonexistent' });
    const grant = await driver.acquire(owner, requests, { signal });
    assert.deepEqual(grant.tokens, { [resource.identity]: `${lockspace}:a:1` });
    const holders = await driver.holders(resource);
    assert.deepEqual(
      holders.map(({ pid, mode }) => [pid, mode]),
      [[process.pid, 'exclusive']],
    );
    await assert.rejects(async () => driver.acquire(owner, requests, { signal }), { code: 'IN_USE' });
    const [first, second] = await readLeaseAreas({ path });
    // How a host is called the daemon knows only when it has looked at it, some seconds later.
    assert.deepEqual(
      [first, second].map((one) => one?.hosts.map(({ hostId }) => hostId)),
      [[1], [1]],
    );
    await assert.rejects(
      makeLeaseArea({ lockspace, name: 'a', path, offset }, { force: true }),
      /is held by .*\(host id 1/,
    );
    await driver.release(grant);
    assert.deepEqual(await driver.holders(resource), []);
  }

  for (const [sectorBytes, mebibytes] of forms) {
    test(`${mebibytes} MiB with sectors of ${sectorBytes} bytes`, () =>
      takeAndShow(
        `ls-${sectorBytes}-${mebibytes}`,
        file(sectorBytes, mebibytes),
        mebibytes * MiB,
        sectorBytes,
      ));
  }

  test('a device with sectors of 4096 bytes has areas of 8 MiB, as sanlock makes them', () =>
    takeAndShow('ls-device', device, 8 * MiB, 4096));

  test('a device ends, and has no smaller sectors than it has', async () => {
    const behind = makeLeaseArea(
      { lockspace: 'ls-device', name: 'b', path: device, offset: deviceBytes },
      plain,
    );
    await assert.rejects(behind, {
      code: 'USAGE',
      message: /has 32 MiB, and an area of 8 MiB at 33554432/,
      remedy: /last place for one is at 25165824/,
    });
    const small = makeLeaseArea(
      { lockspace: 'x', path: device, offset: 16 * MiB },
      { ...plain, sectorBytes: 512 },
    );
    await assert.rejects(small, { code: 'USAGE', message: /has sectors of 4096 bytes/ });
  });

  test('a lease of another form than its lockspace cannot be had, and it is said so', async () => {
    const path = join(folder, 'elsewhere');
    await makeLeaseArea({ lockspace: 'ls-4096-8', name: 'b', path, offset: 0 }, plain);
    const resource = leaseAt('ls-4096-8', 'b', path, 0);
    const driver = await sanlockDriver.start({ qemu_sanlock_conf: '/nonexistent' });
    await assert.rejects(async () => driver.acquire(owner, [{ resource, mode: 'exclusive' }], { signal }), {
      code: 'NO_LEASE',
    });
  });
});
