/** The units of a user's own daemon, under a real `systemd --user`. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { commandFolder, start, type Running } from '../beds/command.js';
import { lockOn } from '../beds/observed-lock.js';
import { rawDisk } from '../beds/qemu.js';
import { SystemdHost } from '../beds/systemd-host.js';
import { until } from '../beds/until.js';
import { UserManager } from '../beds/user-manager.js';
import { watchLock } from '../beds/watched-lock.js';
import { lacks } from '../needs.js';

const nobody = 65_534;
const folder = commandFolder();
const disk = join(folder, 'disk.img');
const skip = lacks('root', 'unshare', 'systemd', 'setpriv');
let host: SystemdHost;
let user: UserManager;
after(() => host?.stop());

before(async () => {
  if (skip !== false) return;
  chmodSync(folder, 0o755);
  rawDisk(disk);
  chownSync(disk, nobody, nobody);
  host = await SystemdHost.start(folder);
  user = await UserManager.start(host, folder, nobody);
  await systemctl('enable', '--now', 'holdfastd.socket', 'holdfastd-api.socket');
});

const systemctl = (...args: string[]): Promise<string> => user.run('systemctl', '--user', ...args);

async function shown(property: string): Promise<string> {
  return systemctl('show', '-p', property, '--value', 'holdfastd.service');
}

function hold(driver: string): Running {
  const words = ['holdfast', 'run', '--driver', driver, '--disk', disk, '--', 'sleep', '300'];
  const [program = '', ...args] = [...user.enter, ...words];
  return start(program, args);
}

/** The one that serves: it says its status as soon as it does. */
async function untilServes(locks: string): Promise<void> {
  await until(async () => (await shown('StatusText')) === locks, locks);
}

for (const [driver, locks] of [
  ['virtlockd', '1 locks of libvirt, 0 holds'],
  ['holdfastd', '0 locks of libvirt, 1 holds'],
] as const) {
  test(
    `driver ${driver}: the socket starts the daemon, which keeps the lock when it starts anew`,
    { skip },
    async () => {
      await systemctl('stop', 'holdfastd.service');
      assert.equal(await shown('ActiveState'), 'inactive');
      const holder = hold(driver);
      await until(
        () => lockOn(disk) === 'write',
        () => holder.stderr,
      );
      await until(async () => (await shown('ActiveState')) === 'active', 'the service');
      assert.equal(await host.run('stat', '-c', '%u', `/proc/${await shown('MainPID')}`), String(nobody));

      const watched = watchLock(disk);
      await systemctl('reload', 'holdfastd.service');
      await untilServes(locks);
      assert.equal(await watched.stop(), 0);

      const keeper = await shown('MainPID');
      await systemctl('restart', 'holdfastd.service');
      await untilServes(locks);
      assert.notEqual(await shown('MainPID'), keeper);
      assert.equal(lockOn(disk), 'write');
      assert.equal(holder.child.exitCode, null, holder.stderr);

      await host.run('pkill', '-x', 'sleep');
      await holder.exited;
      await until(() => lockOn(disk) === 'none', 'the end of the lock');
    },
  );
}
