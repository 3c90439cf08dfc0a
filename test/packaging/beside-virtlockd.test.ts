/** An administrator who starts holdfastd while virtlockd serves: neither a guest nor its lock may be lost by that. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { commandFolder } from '../beds/command.js';
import { lockOn } from '../beds/observed-lock.js';
import { domainXml, qcow2Disk } from '../beds/qemu.js';
import { SystemdHost } from '../beds/systemd-host.js';
import { lacks } from '../needs.js';

let host: SystemdHost;
after(() => host?.stop());
const folder = commandFolder();
const skip = lacks('root', 'unshare', 'systemd', 'libvirtd', 'virtlockd', 'virsh', 'qemu');

// virtlockd sends SIGTERM to each guest that it has locks for as it is stopped (libvirt 9.0).
test(
  'to start holdfastd beside virtlockd fails, and leaves virtlockd and its guests alone',
  { skip },
  async () => {
    host = await SystemdHost.start(folder);
    host.installUnits();
    const disk = qcow2Disk(join(folder, 'web1.qcow2'));
    const xml = join(folder, 'web1.xml');
    writeFileSync(xml, domainXml('web1', [{ path: disk, format: 'qcow2' }]));
    const virsh = (...args: string[]): Promise<string> =>
      host.run('virsh', '-q', '-c', 'qemu:///system', ...args);
    await host.run('systemctl', 'daemon-reload');
    await host.run('systemctl', 'enable', '--now', 'virtlockd.socket', 'virtlockd-admin.socket');
    await virsh('define', xml);
    await virsh('start', 'web1');
    for (const words of [
      ['start', 'holdfastd.service'],
      ['start', 'holdfastd.socket'],
    ]) {
      const { status } = await host.try('systemctl', ...words);
      assert.notEqual(status, 0, words.join(' '));
      assert.equal(await host.run('systemctl', 'is-active', 'virtlockd.service'), 'active');
      assert.equal(await virsh('domstate', 'web1'), 'running');
      assert.equal(lockOn(disk), 'write');
    }
    const { stdout } = await host.try('journalctl', '--no-pager', '-o', 'cat', '-u', 'holdfastd.service');
    assert.match(stdout, /served by virtlockd \(pid \d+\) already\n  try       Pause the guests/);
    // libvirt still finds virtlockd.
    await virsh('suspend', 'web1');
    assert.equal(lockOn(disk), 'none');
    await virsh('resume', 'web1');
    assert.equal(lockOn(disk), 'write');
  },
);
