/** A guest of a real libvirt, with a real virtlockd as its lock manager. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { findHolders } from '../../src/holders/find-holders.js';
import { parseGuestDisks } from '../../src/manager/libvirt-guests.js';
import { commandFolder } from '../beds/command.js';
import { startLibvirtHost, type LibvirtHost } from '../beds/libvirt-host.js';
import { domainXml, rawDisk } from '../beds/qemu.js';
import { lacks } from '../needs.js';
import { resourceAt } from './actor.js';

const folder = commandFolder();

describe(
  'a libvirt guest',
  { skip: lacks('root', 'unshare', 'libvirtd', 'virtlockd', 'virsh', 'qemu') },
  () => {
    let host: LibvirtHost;
    before(async () => {
      host = await startLibvirtHost(folder);
    });
    after(() => host?.stop());

    test('is the holder of virtlockd’s lock, and virsh stops it', async () => {
      const path = rawDisk(join(folder, 'web1.img'));
      const uuid = '7f9b1b0c-1d5e-4d0a-9b7a-0c2f4a1f6c11';
      const xml = join(folder, 'web1.xml');
      writeFileSync(xml, domainXml('web1', [{ path }], uuid));
      host.virsh('create', xml);
      const { holders } = await findHolders(resourceAt(path));
      assert.equal(holders.length, 1, JSON.stringify(holders));
      const [holder] = holders;
      assert.deepEqual(
        [holder?.guest, holder?.uuid, holder?.program, holder?.mode],
        ['web1', uuid, 'qemu-system-x86_64', 'exclusive'],
      );
      assert.deepEqual(holder?.through, ['virtlockd', "QEMU's own image lock"]);
      assert.deepEqual(holder?.does, ['reads', 'writes', 'forbids other writers']);
      assert.deepEqual(holder?.refuses, ['exclusive', 'shared', 'read', 'part']);
      assert.equal(holder?.remedy, 'virsh shutdown web1, or wait for it');
      // What is asked where no QEMU is to be seen.
      const printed = host.virsh('domstats', '--list-active', '--block', '--nowait');
      assert.deepEqual(parseGuestDisks(printed), [{ guest: 'web1', paths: [path] }]);

      // Paused: libvirt has virtlockd give the lock back; QEMU keeps its own.
      host.virsh('suspend', 'web1');
      const [paused] = (await findHolders(resourceAt(path))).holders;
      assert.deepEqual([paused?.guest, paused?.through], ['web1', ["QEMU's own image lock"]]);
      host.virsh('destroy', 'web1');
      assert.deepEqual((await findHolders(resourceAt(path))).holders, []);
    });
  },
);
