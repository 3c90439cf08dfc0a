/** The libvirt of an ordinary user, with either lock daemon run by the same user. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { commandFolder } from '../beds/command.js';
import { guestXml, xmlFile } from '../beds/libvirt-guest.js';
import { LibvirtSystem } from '../beds/libvirt-system.js';
import { LockView } from '../beds/lock-view.js';
import { rawDisk } from '../beds/qemu.js';
import { lacks } from '../needs.js';

const nobody = 65_534;
const folder = commandFolder();
const needed = lacks('root', 'unshare', 'setpriv', 'libvirtd', 'virtlockd', 'virsh', 'qemu');

describe('the libvirt of an ordinary user', { skip: needed }, () => {
  for (const locks of ['virtlockd', 'holdfastd'] as const) {
    test(`with ${locks}`, async (t) => {
      chmodSync(folder, 0o755);
      const own = join(folder, locks);
      mkdirSync(own);
      const disk = rawDisk(join(own, 'a.img'));
      chownSync(disk, nobody, nobody);
      const host = await LibvirtSystem.start(own, { name: locks, locks, user: nobody });
      t.after(() => host.stop());
      const view = new LockView(host, new Map([['a', disk]]));

      await host.virsh('create', xmlFile(own, guestXml({ name: 'web1', disks: [{ path: disk }] })));
      await view.become({ a: 'write' });
      await host.virsh('suspend', 'web1');
      await view.become({});
      await host.virsh('resume', 'web1');
      await view.become({ a: 'write' });
      if (locks === 'holdfastd') {
        await host.killLockWorker();
        assert.deepEqual(view.now(), { a: 'write' });
      }
      await host.restartLibvirtd();
      await host.virsh('suspend', 'web1');
      await view.become({});
      await host.virsh('resume', 'web1');
      await view.become({ a: 'write' });
      await host.virsh('destroy', 'web1');
      await view.become({});
      // An unprivileged libvirt starts a virtlockd itself where none answers.
      assert.equal(programsCalled('virtlockd', host.initPid), locks === 'virtlockd' ? 1 : 0);
    });
  }
});

/** How many processes of a host run this program. */
function programsCalled(name: string, initPid: number): number {
  const inside = `/proc/${initPid}/root/proc`;
  return readdirSync(inside).filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(join(inside, pid, 'comm'), 'utf8').trim() === name;
    } catch {
      return false; // It has ended.
    }
  }).length;
}
