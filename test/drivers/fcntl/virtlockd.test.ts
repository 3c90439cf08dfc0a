/** A real virtlockd and the driver exclude each other, in both ways that libvirt can be set to. */
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Driver, Grant } from '../../../src/driver/contract.js';
import fcntl from '../../../src/drivers/fcntl/fcntl.js';
import { isHoldfastError } from '../../../src/errors.js';
import type { Mode, Owner, Resource } from '../../../src/vocabulary.js';
import { fileResource } from '../../beds/file-resource.js';
import { privateRuntime } from '../../beds/private-folder.js';
import {
  startVirtlockd,
  VirtlockdError,
  type Virtlockd,
  type VirtlockdClient,
} from '../../beds/virtlockd.js';
import { lacks } from '../../needs.js';

const folder = privateRuntime();
const shared = 1;
const autocreate = 2;
const held = 87;
const options = { signal: new AbortController().signal };
const owner: Owner = {
  kind: 'domain',
  name: 'web1',
  uuid: randomUUID(),
  pid: process.pid,
  startTime: 1,
  host: 'here',
  hostId: 'here',
};

/** Whether the driver is granted a mode while virtlockd holds another, or the other way round. */
const pairs: readonly { mode: Mode; flags: number; together: boolean }[] = [
  { mode: 'exclusive', flags: 0, together: false },
  { mode: 'exclusive', flags: shared, together: false },
  { mode: 'shared', flags: 0, together: false },
  { mode: 'shared', flags: shared, together: true },
  { mode: 'read', flags: 0, together: false },
  { mode: 'part', flags: 0, together: false },
];

describe('fcntl beside a real virtlockd', { skip: lacks('root', 'unshare', 'virtlockd') }, () => {
  let virtlockd: Virtlockd;
  let client: VirtlockdClient;
  before(async () => {
    virtlockd = await startVirtlockd(folder);
    client = await virtlockd.connect();
    // Another pid than this process's: the end of the connection must not end the test.
    await client.register('other', randomUUID(), virtlockd.pid);
  });

  after(async () => {
    client.close();
    await virtlockd.stop();
  });

  const virtlockdIsRefused = async (lockspace: string, name: string, flags: number): Promise<boolean> => {
    try {
      await client.acquire(lockspace, name, flags);
      await client.release(lockspace, name);
      return false;
    } catch (error) {
      if (error instanceof VirtlockdError && error.code === held) return true;
      throw error;
    }
  };
  const driverIsRefused = async (driver: Driver, resource: Resource, mode: Mode): Promise<boolean> => {
    try {
      await driver.release(await driver.acquire(owner, [{ resource, mode }], options));
      return false;
    } catch (error) {
      if (isHoldfastError(error, 'IN_USE')) return true;
      throw error;
    }
  };

  describe('with the image itself locked', () => {
    for (const { mode, flags, together } of pairs) {
      const what = `${mode} and virtlockd's ${flags === shared ? 'shared' : 'exclusive'}`;
      test(`${what}: ${together ? 'both' : 'one at a time'}, whoever comes first`, async () => {
        const driver = await fcntl.start({ libvirt_config_dirs: [] });
        const resource = fileResource(join(folder, `direct-${mode}-${flags}`));
        const path = resource.path ?? '';

        await client.acquire('', path, flags);
        assert.equal(await driverIsRefused(driver, resource, mode), !together);
        await client.release('', path);

        const grant = await driver.acquire(owner, [{ resource, mode }], options);
        assert.equal(await virtlockdIsRefused('', path, flags), !together);
        await driver.release(grant);
        assert.equal(await virtlockdIsRefused('', path, flags), false);
      });
    }

    test('holders finds the pid of virtlockd, whose locks are POSIX ones', async () => {
      const driver = await fcntl.start({ libvirt_config_dirs: [] });
      const resource = fileResource(join(folder, 'posix'));
      await client.acquire('', resource.path ?? '');
      await assert.rejects(
        driver.acquire(owner, [{ resource, mode: 'exclusive' }], options),
        (error) => isHoldfastError(error, 'IN_USE') && error.holders[0]?.pid === virtlockd.pid,
      );
      await client.release('', resource.path ?? '');
    });
  });

  describe('with file_lockspace_dir', () => {
    const lockspace = join(folder, 'lockspace-of-libvirt');
    const configuration = join(folder, 'etc-libvirt');
    const hash = (path: string): string => createHash('sha256').update(path).digest('hex');
    let driver: Driver;
    before(async () => {
      mkdirSync(configuration);
      writeFileSync(join(configuration, 'qemu.conf'), '# a comment\nlock_manager = "lockd"\n');
      writeFileSync(join(configuration, 'qemu-lockd.conf'), `file_lockspace_dir = "${lockspace}"\n`);
      await client.createLockspace(lockspace);
      driver = await fcntl.start({ libvirt_config_dirs: [configuration] });
    });

    for (const { mode, flags, together } of pairs) {
      const what = `${mode} and virtlockd's ${flags === shared ? 'shared' : 'exclusive'}`;
      test(`${what}: ${together ? 'both' : 'one at a time'}, whoever comes first`, async () => {
        const resource = fileResource(join(folder, `indirect-${mode}-${flags}`));
        const name = hash(resource.path ?? '');

        await client.acquire(lockspace, name, flags | autocreate);
        assert.equal(await driverIsRefused(driver, resource, mode), !together);
        await client.release(lockspace, name);

        const grant = await driver.acquire(owner, [{ resource, mode }], options);
        assert.equal(await virtlockdIsRefused(lockspace, name, flags | autocreate), !together);
        await driver.release(grant);
        assert.equal(await virtlockdIsRefused(lockspace, name, flags | autocreate), false);
        await client.acquire(lockspace, name, flags | autocreate);
        await client.release(lockspace, name);
      });
    }

    test('the image is locked under its path as written, under its real path, and itself', async () => {
      const real = fileResource(join(folder, 'real'));
      const link = join(folder, 'link');
      symlinkSync(real.path ?? '', link);
      const resource = { ...real, path: link, label: link };
      const grant = await driver.acquire(owner, [{ resource, mode: 'exclusive' }], options);
      assert.equal(await virtlockdIsRefused(lockspace, hash(link), autocreate), true);
      assert.equal(await virtlockdIsRefused(lockspace, hash(real.path ?? ''), autocreate), true);
      assert.equal(await virtlockdIsRefused('', link, 0), true);
      await driver.release(grant);
      assert.equal(
        existsSync(join(lockspace, hash(link))),
        false,
        'an autocreated file goes with its last holder',
      );
    });

    test('a file that virtlockd removes while it is being locked is not taken for the lock', async () => {
      const resource = fileResource(join(folder, 'churn'));
      const name = hash(resource.path ?? '');
      let granted = 0;
      for (let round = 0; round < 300; round++) {
        const churn = client.acquire(lockspace, name, autocreate).then(
          () => client.release(lockspace, name),
          (error: unknown) => assert.ok(error instanceof VirtlockdError && error.code === held),
        );
        let grant: Grant | undefined;
        try {
          grant = await driver.acquire(owner, [{ resource, mode: 'exclusive' }], options);
          granted++;
        } catch (error) {
          assert.ok(isHoldfastError(error, 'IN_USE'));
        }
        await churn;
        if (grant === undefined) continue;
        assert.equal(await virtlockdIsRefused(lockspace, name, autocreate), true, 'two holders');
        await driver.release(grant);
      }
      assert.ok(granted > 0);
      assert.deepEqual(readdirSync(lockspace), []);
    });
  });
});
