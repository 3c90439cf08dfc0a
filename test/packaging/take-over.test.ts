/** What an administrator does with the service besides starting it: looks, a new configuration, `holdfastd --take-over`. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { commandFolder } from '../beds/command.js';
import { lockOn } from '../beds/observed-lock.js';
import { domainXml, qcow2Disk, rawDisk } from '../beds/qemu.js';
import { SystemdHost } from '../beds/systemd-host.js';
import { until } from '../beds/until.js';
import { watchLock } from '../beds/watched-lock.js';
import { lacks } from '../needs.js';

let host: SystemdHost;
// Before whatever is left is ended by force.
after(() => host?.stop());
const folder = commandFolder();
const disk = join(folder, 'web1.qcow2');
const other = join(folder, 'other.img');
const skip = lacks('root', 'unshare', 'systemd', 'libvirtd', 'virtlockd', 'virsh', 'qemu');

const virsh = (...args: string[]): Promise<string> =>
  host.run('timeout', '60', 'virsh', '-q', '-c', 'qemu:///system', ...args);

before(async () => {
  if (skip !== false) return;
  host = await SystemdHost.start(folder);
  host.installUnits();
  host.configure('holdfastd.service', '[Service]\nEnvironment=XDG_CONFIG_HOME=/run/own\n');
  await host.run('systemctl', 'daemon-reload');
  await host.run('systemctl', 'mask', 'virtlockd.service', 'virtlockd-admin.socket');
  await host.run('systemctl', 'enable', '--now', 'holdfastd.service');
  qcow2Disk(disk);
  const xml = join(folder, 'web1.xml');
  writeFileSync(xml, domainXml('web1', [{ path: disk, format: 'qcow2' }]));
  await virsh('define', xml);
  await virsh('start', 'web1');
});

test('who looks is told of the guest, and not of systemd, which has its lock too', { skip }, async () => {
  const stored = ['show', '-p', 'NFileDescriptorStore', '--value', 'holdfastd.service'];
  await until(async () => (await host.run('systemctl', ...stored)) === '1', 'the lock in the store');
  const shown = await host.run('holdfast', 'who', disk);
  assert.match(shown, /guest "web1"/);
  assert.doesNotMatch(shown, /systemd/);
});

test('a reload with a configuration that is wrong fails, and who serves goes on', { skip }, async () => {
  const daemon = (): Promise<string> => host.run('pgrep', '-f', 'holdfastd.js');
  const before = await daemon();
  await host.run('mkdir', '-p', '/run/own/holdfast');
  await host.run('sh', '-c', "echo 'no toml' >/run/own/holdfast/holdfast.toml");
  const { status } = await host.try('systemctl', 'reload', 'holdfastd.service');
  assert.notEqual(status, 0);
  assert.equal(await daemon(), before);
});

test('a reload lets the group in that the configuration names now', { skip }, async () => {
  const modes = (): Promise<string> => host.run('stat', '-c', '%a %g', '/run/holdfast/api.sock');
  assert.equal(await modes(), '600 0');
  await host.run('sh', '-c', `printf '[daemon]\\ngroup = "65534"\\n' >/run/own/holdfast/holdfast.toml`);
  await host.run('systemctl', 'reload', 'holdfastd.service');
  await until(
    async () => (await modes()) === '660 65534',
    () => 'the group',
  );
});

for (const args of [['--take-over'], []]) {
  const command = ['holdfastd', ...args].join(' ');
  test(`${command} beside the service is refused, and says how systemd replaces it`, { skip }, async () => {
    const { status, stderr } = await host.try('timeout', '60', 'holdfastd', ...args);
    assert.equal(status, 75, stderr);
    assert.match(stderr, /systemctl reload holdfastd\.service/);
    assert.equal(await host.run('systemctl', 'is-active', 'holdfastd.service'), 'active');
    assert.equal(lockOn(disk), 'write');
  });
}

test('a service that takes over serves the sockets that systemd opened for it', { skip }, async () => {
  const libvirt = ['libvirtd.socket', 'libvirtd-ro.socket', 'libvirtd-admin.socket'];
  await virsh('suspend', 'web1');
  await host.run('systemctl', 'stop', ...libvirt, 'libvirtd.service');
  await host.run('systemctl', 'stop', 'holdfastd.service', 'holdfastd.socket', 'holdfastd-api.socket');
  rawDisk(other);
  const byHand = host.start('holdfastd');
  await until(
    () => byHand.stderr.includes('serving the API'),
    () => `a daemon: ${byHand.stderr}`,
  );
  const holder = host.start('holdfast', 'run', '--driver=holdfastd', '--disk', other, '--', 'sleep', '600');
  await until(
    () => lockOn(other) === 'write',
    () => `the lock: ${holder.stderr}`,
  );
  const watched = watchLock(other);
  host.configure('holdfastd.service', '[Service]\nExecStart=\nExecStart=holdfastd --take-over\n');
  await host.run('systemctl', 'daemon-reload');
  await host.run('systemctl', 'start', 'holdfastd.service');
  assert.equal(await byHand.exited, 0, byHand.stderr);
  assert.equal(await watched.stop(), 0, 'a gap');
  // Through the socket of the API, which is another one now.
  await host.run('timeout', '60', 'holdfast', 'release', 'sleep');
  assert.equal(lockOn(other), 'none');
  await host.run('systemctl', 'start', ...libvirt);
  await virsh('resume', 'web1');
  assert.equal(lockOn(disk), 'write');
  await virsh('suspend', 'web1');
  assert.equal(lockOn(disk), 'none');
});
