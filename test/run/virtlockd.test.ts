/** A real virtlockd, driven as libvirt drives it, and `holdfast run` keep each other out. */
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { call, commandFolder, holdfast, start, type Running } from '../beds/command.js';
import { end, rawDisk } from '../beds/qemu.js';
import { startVirtlockd, VirtlockdError, type Virtlockd, type VirtlockdClient } from '../beds/virtlockd.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const shared = 1;
const autocreate = 2;
const inUse = 87;

describe('virtlockd and run', { skip: lacks('root', 'unshare', 'virtlockd') }, () => {
  let virtlockd: Virtlockd;
  let client: VirtlockdClient;
  before(async () => {
    virtlockd = await startVirtlockd(folder);
    client = await virtlockd.connect();
    await client.register('web1', randomUUID(), virtlockd.pid);
  });
  after(async () => {
    client.close();
    await virtlockd.stop();
  });

  const virtlockdGets = async (lockspace: string, name: string, flags: number): Promise<boolean> => {
    try {
      await client.acquire(lockspace, name, flags);
    } catch (error) {
      assert.ok(error instanceof VirtlockdError && error.code === inUse, String(error));
      return false;
    }
    await client.release(lockspace, name);
    return true;
  };
  const runSleeping = async (...asked: readonly string[]): Promise<Running> => {
    const command = ['sh', '-c', 'echo started; exec sleep 1000'];
    const running = start(holdfast, ['run', '-q', ...asked, '--', ...command]);
    await running.says('started');
    return running;
  };

  const pairs = [
    { mode: 'exclusive', flags: 0, both: false },
    { mode: 'exclusive', flags: shared, both: false },
    { mode: 'shared', flags: 0, both: false },
    { mode: 'shared', flags: shared, both: true },
    { mode: 'read', flags: 0, both: false },
  ];

  for (const { mode, flags, both } of pairs) {
    const theirs = flags === shared ? 'shared' : 'exclusive';
    test(`${mode}, and virtlockd's ${theirs}: ${both ? 'both' : 'whoever comes first'}`, async () => {
      const path = rawDisk(join(folder, `${mode}-${flags}`));
      const asked = ['--disk', `${path}:${mode}`];

      await client.acquire('', path, flags);
      const ran = await call(['run', '-q', ...asked, '--', 'echo', 'ran']);
      const planned = await call(['plan', ...asked]);
      assert.deepEqual([ran.status, ran.stdout], both ? [0, 'ran\n'] : [75, '']);
      assert.equal(planned.status, ran.status);
      if (!both) {
        assert.match(
          ran.stderr,
          new RegExp(`^ {2}held by {3}virtlockd \\(pid ${virtlockd.pid}, user root\\)`, 'm'),
        );
        assert.match(ran.stderr, /^ {2}through {3}virtlockd$/m);
      }
      await client.release('', path);

      const running = await runSleeping(...asked);
      assert.equal(await virtlockdGets('', path, flags), both);
      await end(running);
      assert.equal(await virtlockdGets('', path, flags), true);
    });
  }

  test('with file_lockspace_dir, as qemu-lockd.conf has it', async () => {
    const lockspace = join(folder, 'lockspace');
    const libvirt = join(folder, 'etc-libvirt');
    const config = join(folder, 'holdfast.toml');
    mkdirSync(libvirt);
    writeFileSync(join(libvirt, 'qemu.conf'), 'lock_manager = "lockd"\n');
    writeFileSync(join(libvirt, 'qemu-lockd.conf'), `file_lockspace_dir = "${lockspace}"\n`);
    writeFileSync(config, `[driver.fcntl]\nlibvirt_config_dirs = ["${libvirt}"]\n`);
    await client.createLockspace(lockspace);
    const path = rawDisk(join(folder, 'indirect'));
    const name = createHash('sha256').update(path).digest('hex');
    const asked = ['--config', config, '--disk', path];

    await client.acquire(lockspace, name, autocreate);
    const refused = await call(['run', ...asked, '--', 'echo', 'ran']);
    assert.deepEqual([refused.status, refused.stdout], [75, '']);
    // Nobody has the image open: only the lock in the lockspace tells who it is.
    assert.match(refused.stderr, new RegExp(`virtlockd \\(pid ${virtlockd.pid}, user root\\) on this host`));
    await client.release(lockspace, name);

    const running = await runSleeping(...asked);
    assert.equal(await virtlockdGets(lockspace, name, autocreate), false);
    assert.equal(await virtlockdGets('', path, 0), false);
    await end(running);
    assert.equal(await virtlockdGets(lockspace, name, autocreate), true);
  });
});
