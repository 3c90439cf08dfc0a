/** Images that are swapped while they are being locked: whatever is granted is what the path led to under the lock. */
import assert from 'node:assert/strict';
import { linkSync, renameSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fcntl from '../../src/drivers/fcntl/fcntl.js';
import { defineDriver, isHoldfastError, openManager, type DriverFactory } from '../../src/index.js';
import { inodeOf } from '../../src/system/inode.js';
import { lockOn, untilFree } from '../beds/observed-lock.js';
import { privateRuntime } from '../beds/private-folder.js';
import { rawDisk } from '../beds/qemu.js';
import { turnName } from '../beds/turning-name.js';

const folder = privateRuntime();
const images = Array.from({ length: 64 }, (_, index) => rawDisk(join(folder, `image${index}`)));
const inodes = images.map((path) => inodeOf(statSync(path, { bigint: true })).ino);
const rounds = 300;
/** On average half of this: some locks are through between two turns, some are not. */
const pauseMs = 4;

/** The fcntl driver, which does something around each acquire. */
function watchedDriver(around: { before?: () => void; after?: () => void }): DriverFactory {
  return defineDriver({ ...fcntl.about, name: 'watched' }, async () => {
    const driver = await fcntl.start({ libvirt_config_dirs: [] });
    return {
      ...driver,
      async acquire(owner, requests, options) {
        around.before?.();
        const grant = await driver.acquire(owner, requests, options);
        around.after?.();
        return grant;
      },
    };
  });
}

describe('an image that is swapped again and again', () => {
  for (const how of ['symlink', 'hard link'] as const) {
    test(`as the name is turned (${how})`, async (t) => {
      const path = join(folder, `turned by ${how}`);
      if (how === 'symlink') symlinkSync(images[0] ?? '', path);
      else linkSync(images[0] ?? '', path);
      const name = turnName(path, images, how, pauseMs);
      t.after(() => name.stop());
      let lockedAt = 0;
      let locks = 0;
      const driver = watchedDriver({
        after() {
          lockedAt = name.turns();
          locks++;
        },
      });
      const manager = openManager({ driver, configuration: false });
      let granted = 0;
      let moved = 0;
      for (let round = 0; round < rounds; round++) {
        try {
          const hold = await manager.lock({ disks: [path] });
          const grantedAt = name.turns();
          granted++;
          const possible = await name.between(lockedAt, grantedAt);
          const locked = hold.requests[0]?.resource.inode?.ino ?? '';
          assert.ok(
            possible.map((index) => inodes[index]).includes(locked),
            `round ${round}: image ${inodes.indexOf(locked)} is locked, but under the lock the path led to ${possible.join(', ')}`,
          );
          assert.equal(lockOn(images[inodes.indexOf(locked)] ?? ''), 'write');
          await hold.release();
        } catch (error) {
          if (!isHoldfastError(error, 'MOVED')) throw error;
          moved++;
        }
      }
      await manager.close();
      assert.ok(granted > 0, 'some were granted');
      assert.ok(locks > granted || moved > 0, 'some were noticed to have moved');
      await Promise.all(images.map(untilFree));
    });
  }

  test('swapped just before the lock, each time: MOVED, and nothing is held', async () => {
    const [one = '', other = ''] = images;
    const path = join(folder, 'treacherous');
    symlinkSync(one, path);
    let turns = 0;
    const driver = watchedDriver({
      before() {
        symlinkSync(turns++ % 2 === 0 ? other : one, `${path}.next`);
        renameSync(`${path}.next`, path);
      },
    });
    const manager = openManager({ driver, configuration: false });
    await assert.rejects(manager.lock({ disks: [path] }), (error) => isHoldfastError(error, 'MOVED'));
    assert.ok(turns > 1, 'it was tried again');
    assert.deepEqual([lockOn(one), lockOn(other)], ['none', 'none']);
    await manager.close();
  });
});
