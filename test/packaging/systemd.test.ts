/** holdfastd in virtlockd's place under a real systemd, which also runs libvirt's own units. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { commandFolder, holdfast, start } from '../beds/command.js';
import { lockOn } from '../beds/observed-lock.js';
import { domainXml, qcow2Disk } from '../beds/qemu.js';
import { SystemdHost } from '../beds/systemd-host.js';
import { until } from '../beds/until.js';
import { watchLock } from '../beds/watched-lock.js';
import { lacks } from '../needs.js';

let host: SystemdHost;
// Before whatever is left is ended by force.
after(() => host?.stop());
const folder = commandFolder();
const disk = join(folder, 'web1.qcow2');
const skip = lacks('root', 'unshare', 'systemd', 'libvirtd', 'virtlockd', 'virsh', 'qemu', 'setpriv');
/** Whom the images of guests belong to: not to root. */
const nobody = 65534;

before(async () => {
  if (skip !== false) return;
  host = await SystemdHost.start(folder);
  host.installUnits();
  await host.run('systemctl', 'daemon-reload');
  await host.run('systemctl', 'mask', 'virtlockd.service', 'virtlockd-admin.socket');
  await host.run('systemctl', 'enable', '--now', 'holdfastd.service');
  qcow2Disk(disk);
  chownSync(disk, nobody, nobody);
  chmodSync(disk, 0o600);
  const xml = join(folder, 'web1.xml');
  writeFileSync(xml, domainXml('web1', [{ path: disk, format: 'qcow2' }]));
  await virsh('define', xml);
});

const virsh = (...args: string[]): Promise<string> =>
  host.run('virsh', '-q', '-c', 'qemu:///system', ...args);

async function activeUnits(...units: string[]): Promise<string[]> {
  const { stdout } = await host.try('systemctl', 'is-active', ...units);
  return stdout.trim().split('\n');
}

/** The keeper and the daemon, by pid. */
async function processes(): Promise<string[]> {
  const { stdout } = await host.try('pgrep', '-f', 'holdfastd.js');
  return stdout.trim().split('\n');
}

/** One that serves, in place of the second of these. */
function untilAnotherDaemon([, daemon = '']: readonly string[]): Promise<void> {
  return until(async () => {
    const now = await processes();
    const { stdout } = await host.try('journalctl', '--no-pager', '-o', 'cat', '-u', 'holdfastd.service');
    const serving = stdout.split('\n').findLast((line) => line.includes('serving libvirt')) ?? '';
    return now.length === 2 && !now.includes(daemon) && serving.includes(`"pid":${now[1]},`);
  }, `another daemon than ${daemon}`);
}

test('libvirtd, which requires virtlockd.socket, starts and locks through holdfastd', { skip }, async () => {
  await virsh('start', 'web1');
  assert.equal(lockOn(disk), 'write');
  const units = ['libvirtd.service', 'virtlockd.socket', 'holdfastd.service', 'virtlockd.service'];
  assert.deepEqual(await activeUnits(...units), ['active', 'active', 'active', 'inactive']);
  const id = await host.run('systemctl', 'show', '-p', 'Id', '--value', 'virtlockd.socket');
  assert.equal(id, 'holdfastd.socket');
});

test('who starts virtlockd out of habit does not end holdfastd', { skip }, async () => {
  const { status } = await host.try('systemctl', 'start', 'virtlockd.service');
  assert.notEqual(status, 0);
  await host.run('systemctl', 'restart', 'libvirtd.service');
  assert.deepEqual(await activeUnits('holdfastd.service'), ['active']);
  assert.equal(lockOn(disk), 'write');
});

test('a reload replaces the daemon, and the lock is held all the time', { skip }, async () => {
  const first = await processes();
  const watched = watchLock(disk);
  await host.run('systemctl', 'reload', 'holdfastd.service');
  await untilAnotherDaemon(first);
  assert.equal(await watched.stop(), 0);
  assert.equal((await processes())[0], first[0], 'the keeper stays');
  assert.deepEqual(await activeUnits('holdfastd.service'), ['active']);
});

test('a daemon that is killed is started again, and the lock is held all the time', { skip }, async () => {
  const first = await processes();
  const watched = watchLock(disk);
  await host.run('kill', '-KILL', first[1] ?? '');
  await untilAnotherDaemon(first);
  assert.equal(await watched.stop(), 0);
  await virsh('suspend', 'web1');
  await virsh('resume', 'web1');
  assert.equal(lockOn(disk), 'write');
});

/** What systemd's store has; `systemctl` counts it. */
const stored = async (): Promise<number> =>
  Number(await host.run('systemctl', 'show', '-p', 'NFileDescriptorStore', '--value', 'holdfastd.service'));

for (const [what, args] of [
  ['both processes are killed', ['kill', '--signal=KILL', '--kill-whom=all']],
  ['it is restarted', ['restart']],
] as const) {
  test(`when ${what}, systemd holds the lock until holdfastd is back`, { skip }, async () => {
    // This one, and not the one before it.
    await virsh('suspend', 'web1');
    await until(async () => (await stored()) === 0, 'nothing in the store');
    await virsh('resume', 'web1');
    await until(async () => (await stored()) === 1, 'the lock in the store');
    const first = await processes();
    const watched = watchLock(disk);
    await host.run('systemctl', ...args, 'holdfastd.service');
    await untilAnotherDaemon(first);
    assert.equal(await watched.stop(), 0);
    await until(async () => (await activeUnits('holdfastd.service'))[0] === 'active', 'the service');
    // It is holdfastd's again, and not the store's alone.
    await virsh('suspend', 'web1');
    assert.equal(lockOn(disk), 'none');
    await virsh('resume', 'web1');
    assert.equal(lockOn(disk), 'write');
  });
}

test('the end of the guest gives its lock back', { skip }, async () => {
  await virsh('destroy', 'web1');
  await until(() => lockOn(disk) === 'none', 'the end of the lock');
});

test('with all that the unit forbids it, holdfastd sees who is in the way', { skip }, async () => {
  const words = ['run', '--disk', disk, '--', 'setpriv', `--reuid=${nobody}`, 'sleep', '60'];
  const [program = '', ...args] = [...host.enter, holdfast, ...words];
  const holder = start(program, args);
  await until(
    () => lockOn(disk) === 'write',
    () => `the lock: ${holder.stderr}`,
  );
  const answer = async (): Promise<string> => {
    const { status, stderr } = await host.try('virsh', '-q', '-c', 'qemu:///system', 'start', 'web1');
    assert.notEqual(status, 0);
    return stderr;
  };
  // On a busy machine a look can take longer than libvirt is made to wait.
  await until(async () => (await answer()).includes('is locked by setpriv, pid'), 'who has it');
  await host.run('pkill', '-x', 'sleep');
  await holder.exited;
});

test('a group of the configuration is let in to the socket that systemd opened', { skip }, async () => {
  const api = '/run/holdfast/api.sock';
  const modes = (): Promise<string> => host.run('stat', '-c', '%a %g', api, '/run/holdfast');
  assert.equal(await modes(), '600 0\n700 0');
  host.configure('holdfastd.service', `[Service]\nExecStart=\nExecStart=holdfastd --group=${nobody}\n`);
  await host.run('systemctl', 'daemon-reload');
  await host.run('systemctl', 'restart', 'holdfastd.service');
  assert.equal(await modes(), `660 ${nobody}\n710 ${nobody}`);
});
