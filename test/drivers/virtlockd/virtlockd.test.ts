/** What the virtlockd driver does beyond the conformance suite, with a real virtlockd. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Driver, Grant } from '../../../src/driver/contract.js';
import fcntl from '../../../src/drivers/fcntl/fcntl.js';
import virtlockdDriver from '../../../src/drivers/virtlockd/virtlockd.js';
import { isHoldfastError } from '../../../src/errors.js';
import type { ErrorCode, Mode, Resource } from '../../../src/vocabulary.js';
import { fileResource, namedResource } from '../../beds/file-resource.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { startRemoteDriver } from '../../beds/remote-driver.js';
import { until } from '../../beds/until.js';
import {
  startVirtlockd,
  VirtlockdError,
  type Virtlockd,
  type VirtlockdClient,
} from '../../beds/virtlockd.js';
import { owner, signal } from '../../driver/named-resource.js';
import { lacks } from '../../needs.js';

const folder = privateRuntime();
const noLibvirt = { qemu_lockd_conf: '/nonexistent' };
const shared = 1;
const autocreate = 2;
const hash = (text: string): string => createHash('sha256').update(text).digest('hex');

const acquire = (driver: Driver, resource: Resource, mode: Mode = 'exclusive'): Promise<Grant> =>
  driver.acquire(owner('guest'), [{ resource, mode }], { signal });
const isFree = async (driver: Driver, resource: Resource, mode: Mode = 'exclusive'): Promise<boolean> => {
  try {
    await driver.release(await acquire(driver, resource, mode));
    return true;
  } catch (error) {
    if (isHoldfastError(error, 'IN_USE')) return false;
    throw error;
  }
};
const isCode =
  (code: ErrorCode, message?: RegExp) =>
  (error: unknown): boolean =>
    isHoldfastError(error, code) && (message === undefined || message.test(error.message));

function sleeper(grant: Grant): ChildProcess {
  return spawn('sleep', ['1000'], { stdio: ['ignore', 'ignore', 'ignore', ...grant.descriptors] });
}
async function end(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

describe('the virtlockd driver', { skip: lacks('root', 'unshare', 'virtlockd') }, () => {
  let virtlockd: Virtlockd;
  let client: VirtlockdClient;
  let driver: Driver;
  let settings: Record<string, string>;
  before(async () => {
    virtlockd = await startVirtlockd(folder);
    client = await virtlockd.connect();
    await client.register('libvirt', randomUUID(), virtlockd.pid);
    settings = { ...noLibvirt, socket: virtlockd.socket };
    driver = await virtlockdDriver.start(settings);
  });
  after(async () => {
    client.close();
    await virtlockd.stop();
  });
  const libvirtGets = async (lockspace: string, name: string, flags = 0): Promise<boolean> => {
    try {
      await client.acquire(lockspace, name, flags);
      await client.release(lockspace, name);
      return true;
    } catch (error) {
      if (error instanceof VirtlockdError && error.code === 87) return false;
      throw error;
    }
  };

  describe('the life of a lock', () => {
    test('a command that inherited it keeps it after it was given back here, and no longer than it lives', async () => {
      const resource = fileResource(join(folder, 'inherited'));
      const grant = await acquire(driver, resource);
      const child = sleeper(grant);
      await driver.release(grant);
      assert.equal(await libvirtGets('', resource.path ?? ''), false);
      assert.equal(await isFree(driver, resource), false);
      await end(child);
      await until(() => libvirtGets('', resource.path ?? ''), 'the lock of a command that has ended');
      assert.equal(await isFree(driver, resource), true);
    });

    test('what is taken out of a grant stays with the command that has it', async () => {
      const [one, two] = [fileResource(join(folder, 'shrunk-1')), fileResource(join(folder, 'shrunk-2'))];
      const requests = [one, two].map((resource) => ({ resource, mode: 'exclusive' as const }));
      const grant = await driver.acquire(owner('guest'), requests, { signal });
      const child = sleeper(grant);
      const less = await driver.shrink?.(grant, [two.identity]);
      assert.ok(less !== undefined);
      assert.equal(await isFree(driver, two), false);
      await end(child);
      await until(() => isFree(driver, two), 'what was taken out');
      assert.equal(await isFree(driver, one), false);
      await driver.release(less);
      assert.equal(await isFree(driver, one), true);
    });

    test('a command keeps it when its parent is killed, and other holds of the parent with it', async () => {
      const other = await startRemoteDriver('virtlockd', settings);
      const resource = fileResource(join(folder, 'orphan'));
      await acquire(other.driver, resource);
      assert.equal(await isFree(driver, resource), false);
      await other.kill();
      await until(() => isFree(driver, resource), 'the locks of a process that was killed');
    });

    test('the end of one hold leaves the others of this process alone, and this process too', async () => {
      const resources = Array.from({ length: 20 }, (_, n) => fileResource(join(folder, `many-${n}`)));
      const grants = await Promise.all(resources.map((resource) => acquire(driver, resource)));
      for (const [n, grant] of grants.entries()) {
        await driver.release(grant);
        for (const later of resources.slice(n + 1)) assert.equal(await isFree(driver, later), false);
      }
    });
  });

  describe('beside fcntl', () => {
    for (const [asked, held, together] of [
      ['exclusive', 'exclusive', false],
      ['exclusive', 'shared', false],
      ['exclusive', 'read', false],
      ['shared', 'exclusive', false],
      ['shared', 'shared', true],
      ['shared', 'read', false],
      ['shared', 'part', false],
    ] as const) {
      test(`${asked} while fcntl holds ${held}: ${together ? 'both' : 'refused'}`, async () => {
        const other = await fcntl.start({ libvirt_config_dirs: [], qemu_lock: 'off' });
        const resource = fileResource(join(folder, `beside-${asked}-${held}`));
        const grant = await acquire(other, resource, held);
        assert.equal(await isFree(driver, resource, asked), together);
        await other.release(grant);
        const own = await acquire(driver, resource, asked);
        if (held === 'exclusive' || asked === 'exclusive')
          assert.equal(await isFree(other, resource, held), false);
        await driver.release(own);
        assert.equal(await isFree(other, resource, held), true);
      });
    }

    test('a guest is one for both', async () => {
      const other = await fcntl.start({ libvirt_config_dirs: [] });
      const guest = namedResource('domain:both');
      const grant = await acquire(driver, guest);
      assert.equal(await isFree(other, guest), false);
      await driver.release(grant);
      assert.equal(await isFree(other, guest), true);
    });
  });

  describe('names', () => {
    test('a disk by a symlink is asked for by both paths', async () => {
      const real = fileResource(join(folder, 'real'));
      const link = join(folder, 'link');
      symlinkSync(real.path ?? '', link);
      const grant = await acquire(driver, { ...real, path: link, label: link });
      assert.equal(await libvirtGets('', link), false);
      assert.equal(await libvirtGets('', real.path ?? ''), false);
      assert.equal(await isFree(driver, real), false);
      await driver.release(grant);
      assert.equal(await libvirtGets('', link), true);
      assert.equal(await libvirtGets('', real.path ?? ''), true);
    });

    test('a disk that libvirt has by another hard link is refused, and its lock stays', async () => {
      const resource = fileResource(join(folder, 'linked'));
      const other = join(folder, 'linked-too');
      linkSync(resource.path ?? '', other);
      await client.acquire('', other);
      await assert.rejects(
        acquire(driver, resource),
        (error) => isHoldfastError(error, 'IN_USE') && error.holders[0]?.pid === virtlockd.pid,
      );
      // The kernel's lock is still there: fcntl sees it.
      assert.equal(await isFree(await fcntl.start({ libvirt_config_dirs: [] }), resource), false);
      await client.release('', other);
      assert.equal(await isFree(driver, resource), true);
    });

    test("libvirt's lockspace directory is followed", async () => {
      const lockspace = join(folder, 'libvirt-lockspace');
      const conf = join(folder, 'qemu-lockd.conf');
      writeFileSync(conf, `# a comment\nfile_lockspace_dir = "${lockspace}"\n`);
      const following = await virtlockdDriver.start({ ...settings, qemu_lockd_conf: conf });
      const resource = fileResource(join(folder, 'indirect'));
      const path = resource.path ?? '';
      const grant = await acquire(following, resource);
      assert.equal(await libvirtGets(lockspace, hash(path), autocreate), false);
      assert.equal(await libvirtGets('', path), false);
      await following.release(grant);
      assert.deepEqual(readdirSync(lockspace), []);
      await client.acquire(lockspace, hash(path), shared | autocreate);
      assert.equal(await isFree(following, resource), false);
      assert.equal(await isFree(following, resource, 'shared'), true);
      assert.equal(await libvirtGets('', path), true, 'nothing is left of what was refused');
      await client.release(lockspace, hash(path));
    });

    test('a lease is a file that stays, and one with its path or without', async () => {
      const lease = { lockspace: 'space', key: 'key', path: join(folder, 'leases'), offset: 0 };
      const named = { ...namedResource('lease:space:key'), kind: 'lease' as const };
      const grant = await acquire(driver, { ...named, lease });
      assert.equal(await libvirtGets(join(lease.path, 'space'), 'key'), false);
      assert.equal(await isFree(driver, named), false);
      await driver.release(grant);
      assert.equal(existsSync(join(lease.path, 'space', 'key')), true);
      for (const shape of [
        { ...lease, key: '../key' },
        { ...lease, offset: 512 },
      ]) {
        const request = { resource: { ...named, lease: shape }, mode: 'exclusive' } as const;
        assert.equal(driver.mapRequest?.(request).can, false);
      }
    });

    test('a directory is locked by its identity', async () => {
      const resource: Resource = { ...namedResource('directory:1'), storage: 'directory', path: folder };
      const grant = await acquire(driver, resource);
      assert.equal(await isFree(driver, resource), false);
      await driver.release(grant);
    });

    test('a network disk cannot be locked', () => {
      const resource: Resource = { ...namedResource('rbd:pool/image'), kind: 'disk', storage: 'network' };
      assert.equal(driver.mapRequest?.({ resource, mode: 'exclusive' }).can, false);
    });
  });

  test('what is not what was planned is not locked', async () => {
    const resource = fileResource(join(folder, 'planned'));
    const path = resource.path ?? '';
    renameSync(path, join(folder, 'planned-before'));
    await assert.rejects(acquire(driver, resource), isCode('MOVED'));
    writeFileSync(path, '');
    await assert.rejects(acquire(driver, resource), isCode('MOVED'));
    assert.equal(await libvirtGets('', path), true);
  });

  test('a virtlockd that sees other files is noticed', async () => {
    const other = join(folder, 'elsewhere');
    mkdirSync(other);
    const elsewhere = await startVirtlockd(other);
    try {
      // /run is private to it: what stands there for us is not there for it, and it makes its own.
      const blind = await virtlockdDriver.start({
        ...noLibvirt,
        socket: elsewhere.socket,
        lockspace_dir: '/run/holdfast-test-of-virtlockd/lockspace',
      });
      await assert.rejects(
        acquire(blind, namedResource('domain:blind')),
        isCode('DRIVER_FAILED', /is not locked/),
      );
    } finally {
      await elsewhere.stop();
    }
  });

  describe('when virtlockd is gone', () => {
    test('what it kept is lost, and after its restart everything can be had again', async () => {
      const own = join(folder, 'mortal');
      mkdirSync(own);
      let mortal = await startVirtlockd(own);
      const mortalDriver = await virtlockdDriver.start({ ...noLibvirt, socket: mortal.socket });
      const resource = fileResource(join(own, 'disk'));
      const grant = await acquire(mortalDriver, resource);
      await mortal.stop();
      const loss = await grant.lost;
      assert.deepEqual(loss?.resources, [resource.label]);
      assert.match(loss?.reason ?? '', /closed the connection/);
      await assert.rejects(acquire(mortalDriver, resource), isCode('DRIVER_FAILED', /does not listen/));
      mortal = await startVirtlockd(own);
      try {
        const again = await acquire(mortalDriver, resource);
        await mortalDriver.release(grant);
        assert.equal(
          await isFree(mortalDriver, resource),
          false,
          'the end of the lost grant touches nothing',
        );
        await mortalDriver.release(again);
        assert.equal(await isFree(mortalDriver, resource), true);
      } finally {
        await mortal.stop();
      }
    });

    test('started anew in place (SIGUSR1) it keeps everything', async () => {
      const resource = fileResource(join(folder, 'renewed'));
      const grant = await acquire(driver, resource);
      process.kill(virtlockd.pid, 'SIGUSR1');
      await until(
        () =>
          client.acquire('', join(folder, 'renewed')).then(
            () => true,
            () => true,
          ),
        'an answer',
      );
      assert.equal(await isFree(driver, resource), false);
      await driver.release(grant);
      assert.equal(await isFree(driver, resource), true);
    });
  });
});
