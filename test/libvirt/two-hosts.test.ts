/**
 * Two hosts with a libvirt each, which share a real GlusterFS: what the one has locked the other does not get, whichever lock
 * daemons they have, and guests migrate between them.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { commandFolder } from '../beds/command.js';
import { startGlusterFs, type GlusterFs } from '../beds/glusterfs.js';
import { diskXml, guestXml, xmlFile } from '../beds/libvirt-guest.js';
import { joinNetworks, LibvirtSystem, type LockDaemon, type VirshEnd } from '../beds/libvirt-system.js';
import { lockFileOf, LockView } from '../beds/lock-view.js';
import { rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const needed = lacks('root', 'unshare', 'libvirtd', 'virtlockd', 'virsh', 'qemu', 'glusterfs');

describe('two hosts that share a file system', { skip: needed }, () => {
  let gluster: GlusterFs;
  before(async () => {
    gluster = await startGlusterFs(folder);
  });
  after(() => gluster?.stop());

  /** As the hosts have it. */
  const shared = join(folder, 'shared');
  const addresses = ['10.77.1.1', '10.77.1.2'] as const;

  async function startHost(
    name: string,
    index: 0 | 1,
    locks: LockDaemon,
    lockspace?: string,
  ): Promise<LibvirtSystem> {
    mkdirSync(shared, { recursive: true });
    return LibvirtSystem.start(folder, {
      name,
      locks,
      address: addresses[index],
      bind: { folder: gluster.mounts[index], at: shared },
      startIn: (program, args) => gluster.start(program, args),
      ...(lockspace === undefined ? {} : { lockspace }),
    });
  }

  /** A disk on the shared file system; its name on every host. */
  function sharedDisk(host: LibvirtSystem, name: string): string {
    const path = join(shared, name);
    rawDisk(host.outside(path));
    return path;
  }

  describe('a directory of locks that a virtlockd shares', () => {
    let one: LibvirtSystem;
    let two: LibvirtSystem;
    const lockspace = join(shared, 'locks');
    before(async () => {
      one = await startHost('holdfast-host', 0, 'holdfastd', lockspace);
      two = await startHost('virtlockd-host', 1, 'virtlockd', lockspace);
    });
    after(async () => {
      await one?.stop();
      await two?.stop();
    });

    test('what either has locked the other does not get', async () => {
      const disks = ['a', 'b', 'c'].map((name) => sharedDisk(one, `${name}.img`));
      const [a = '', b = '', c = ''] = disks;
      const view = (host: LibvirtSystem): LockView =>
        new LockView(
          host,
          new Map(disks.map((disk) => [basename(disk), host.outside(lockFileOf(disk, lockspace))])),
        );
      const create = (host: LibvirtSystem, name: string, path: string): Promise<string> =>
        host.virsh('create', xmlFile(folder, guestXml({ name, disks: [{ path }] })));
      const attach = (host: LibvirtSystem, name: string, path: string): Promise<string> =>
        host.virsh('attach-device', name, xmlFile(folder, diskXml({ path }, 'sdb')));
      /**
       * The file of the lock was removed by the other host: for a second the GlusterFS of this one may still give the
       * removed one, which either lock daemon reports as an error.
       */
      const attachSoon = (host: LibvirtSystem, name: string, path: string): Promise<void> =>
        until(async () => {
          const tried = await attach(host, name, path).catch((error: Error) => error.message);
          assert.ok(!tried.includes('error') || /stale file handle/i.test(tried), tried);
          return !tried.includes('error');
        }, `${host.name} to get ${path}`);
      const isLocked = (disk: string) => (error: Error) =>
        error.message.includes(`Lockspace resource '${basename(lockFileOf(disk, lockspace))}' is locked`);
      await create(one, 'web1', a);
      await create(two, 'web2', b);
      await view(one).become({ 'a.img': 'write', 'b.img': 'write' }, 1);
      await view(two).become({ 'a.img': 'write', 'b.img': 'write' }, 1);
      for (const [host, guest, disk] of [
        [one, 'web1', b],
        [two, 'web2', a],
      ] as const) {
        await assert.rejects(attach(host, guest, disk), isLocked(disk));
      }
      await one.killLockWorker();
      await assert.rejects(attach(two, 'web2', a), isLocked(a));
      // What is free either gets, and what one gives back the other gets.
      await attach(one, 'web1', c);
      await assert.rejects(attach(two, 'web2', c), isLocked(c));
      await one.virsh('destroy', 'web1');
      await view(one).become({ 'b.img': 'write' }, 0);
      await attachSoon(two, 'web2', c);
      await create(one, 'web1', a);
      await assert.rejects(attach(one, 'web1', c), isLocked(c));
      await two.virsh('destroy', 'web2');
      await view(two).become({ 'a.img': 'write' }, 0);
      await attachSoon(one, 'web1', c);
      await view(one).become({ 'a.img': 'write', 'c.img': 'write' });
      await one.virsh('destroy', 'web1');
      await view(one).become({});
      assert.deepEqual(readdirSync(one.outside(lockspace)), []);
    });
  });

  describe('live migration', () => {
    let one: LibvirtSystem;
    let two: LibvirtSystem;
    before(async () => {
      one = await startHost('hosta', 0, 'holdfastd');
      two = await startHost('hostb', 1, 'holdfastd');
      await joinNetworks(one, two, addresses);
    });
    after(async () => {
      await one?.stop();
      await two?.stop();
    });

    test('the lock moves with the guest', async () => {
      const disk = sharedDisk(one, 'm.img');
      const views = [one, two].map((host) => new LockView(host, new Map([['m', host.outside(disk)]])));
      const migrate = (from: LibvirtSystem, to: 0 | 1): Promise<string> =>
        from.virsh(
          'migrate',
          '--live',
          'web1',
          `qemu+tcp://${addresses[to]}/system`,
          `tcp://${addresses[to]}`,
          '--unsafe',
        );
      /** Locked for both, and by the lock daemon of one. */
      const isOn = async (index: 0 | 1): Promise<void> => {
        await views[index]?.become({ m: 'write' }, 1);
        await views[1 - index]?.become({ m: 'write' }, 0);
      };
      await one.virsh('create', xmlFile(folder, guestXml({ name: 'web1', disks: [{ path: disk }] })));
      await isOn(0);
      await migrate(one, 1);
      await isOn(1);
      await two.killLockWorker();
      await isOn(1);
      await migrate(two, 0);
      await isOn(0);
      await one.virsh('destroy', 'web1');
      for (const view of views) await view.become({});
    });

    test('lock daemons killed meanwhile: the guest is on one of the two, and can go on', async (t) => {
      const disk = sharedDisk(one, 'k.img');
      const hosts = [one, two] as const;
      const views = hosts.map((host) => new LockView(host, new Map([['k', host.outside(disk)]])));
      await one.virsh('create', xmlFile(folder, guestXml({ name: 'web1', disks: [{ path: disk }] })));
      const tryMigrate = (from: LibvirtSystem, to: 0 | 1): Promise<VirshEnd> =>
        from.tryVirsh(
          ...['migrate', '--live', 'web1', `qemu+tcp://${addresses[to]}/system`],
          ...[`tcp://${addresses[to]}`, '--unsafe'],
        );
      let at: 0 | 1 = 0;
      let failed = 0;
      for (let round = 0; round < 4; round++) {
        const to: 0 | 1 = at === 0 ? 1 : 0;
        const kills = hosts.map(async (host) => {
          await setTimeout(Math.random() * 1_500);
          await host.killLockWorker();
        });
        const migrated: VirshEnd = await tryMigrate(hosts[at], to);
        await Promise.all(kills);
        if (migrated.ok) at = to;
        else failed++;
        const states = await Promise.all(hosts.map((host) => host.tryVirsh('domstate', 'web1')));
        assert.deepEqual([states[at]?.ok, states[at === 0 ? 1 : 0]?.ok], [true, false], migrated.text);
        // Where it could not get its lock it was left paused, and gets it with the next try.
        if (states[at]?.text.trim() !== 'running') await hosts[at].virsh('resume', 'web1');
        await views[at]?.become({ k: 'write' });
      }
      t.diagnostic(`${failed} of 4 migrations failed`);
      await hosts[at].virsh('destroy', 'web1');
      for (const view of views) await view.become({});
    });
  });
});
