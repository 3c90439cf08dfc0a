/**
 * What happens to guests of a real libvirt, and which locks there are after each step. The same for both lock daemons;
 * where they differ, the step says so and why.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { holdfast } from '../beds/command.js';
import { firstChild } from '../beds/glusterfs.js';
import { lockOn } from '../beds/observed-lock.js';
import { diskXml, guestXml, leaseXml, xmlFile, type Guest, type GuestLease } from '../beds/libvirt-guest.js';
import { LibvirtSystem, type LockDaemon } from '../beds/libvirt-system.js';
import { lockFileOf, LockView } from '../beds/lock-view.js';
import { qcow2Disk, rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

export interface ScenarioOptions {
  readonly locks: LockDaemon;
  /** Whether libvirt locks files in a directory of locks instead of the disks. */
  readonly indirect: boolean;
}

const diskNames = ['a', 'b', 'c'] as const;

/** Registers the suite; `parent` is a private folder of the test file. */
export function libvirtScenarios(parent: string, { locks, indirect }: ScenarioOptions): void {
  const where = indirect ? 'a directory of locks' : 'the disks themselves';
  const needed = lacks('root', 'unshare', 'libvirtd', 'virtlockd', 'virsh', 'qemu', 'qemu-img');
  describe(`libvirt with ${locks}, locking ${where}`, { skip: needed }, () => {
    const folder = join(parent, `${locks}-${indirect ? 'indirect' : 'direct'}`);
    const lockspace = indirect ? join(folder, 'locks') : undefined;
    const paths = Object.fromEntries(diskNames.map((name) => [name, join(folder, `${name}.img`)]));
    const disk = (name: (typeof diskNames)[number]): string => paths[name] ?? '';
    const image = join(folder, 'image.qcow2');
    const overlay = join(folder, 'image.snapshot');
    const lease: GuestLease = { folder: join(folder, 'leases'), lockspace: 'one', key: 'k1' };
    const leaseFolder = join(lease.folder, lease.lockspace);
    let host: LibvirtSystem;
    let view: LockView;

    before(async () => {
      mkdirSync(folder);
      for (const path of Object.values(paths)) rawDisk(path);
      // libvirt makes neither the directory of a lease nor its file.
      mkdirSync(leaseFolder, { recursive: true, mode: 0o700 });
      writeFileSync(join(leaseFolder, lease.key), '', { mode: 0o600 });
      host = await LibvirtSystem.start(folder, {
        name: 'host',
        locks,
        leases: leaseFolder,
        ...(lockspace === undefined ? {} : { lockspace }),
      });
      const disks = [...Object.entries(paths), ['image', image], ['overlay', overlay]];
      view = new LockView(
        host,
        new Map([
          ...disks.map(([name = '', path = '']): [string, string] => [name, lockFileOf(path, lockspace)]),
          ['lease', join(leaseFolder, lease.key)],
        ]),
      );
    });
    after(() => host?.stop());

    /** Whatever a test did: no guest, no lock, no file of a lock. */
    afterEach(async () => {
      for (const name of (await host.virsh('list', '--name', '--all')).split('\n').filter(Boolean)) {
        await host.tryVirsh('destroy', name);
        await host.tryVirsh('undefine', name, '--managed-save', '--snapshots-metadata');
      }
      await view.become({});
      if (lockspace !== undefined) assert.deepEqual(readdirSync(lockspace), []);
      assert.deepEqual(readdirSync(leaseFolder), [lease.key]);
    });

    const create = (guest: Guest, ...options: string[]): Promise<string> =>
      host.virsh('create', xmlFile(folder, guestXml(guest)), ...options);
    const refused = async (...command: string[]): Promise<string> => {
      const { ok, text } = await host.tryVirsh(...command);
      assert.equal(ok, false, `virsh ${command.join(' ')} was not refused`);
      return text;
    };
    /** What libvirt says of a held resource: virtlockd's words, to which holdfastd adds who has it. */
    const assertSaysHeld = (text: string, resource: string, holder: string): void => {
      const words = `resource busy: Lockspace resource '${resource}' is locked`;
      assert.ok(text.includes(words), text);
      const pid = readFileSync(host.outside(`/run/libvirt/qemu/${holder}.pid`), 'utf8').trim();
      const adds = ` by guest "${holder}" (pid ${pid}) since `;
      assert.equal(text.includes(words + adds), locks === 'holdfastd', text);
    };
    const state = async (name: string): Promise<string> => (await host.virsh('domstate', name)).trim();

    test('start, suspend, resume, reset, destroy', async () => {
      await create({ name: 'web1', disks: [{ path: disk('a') }, { path: disk('b') }] });
      await view.become({ a: 'write', b: 'write' });
      await host.virsh('suspend', 'web1');
      await view.become({});
      await host.virsh('resume', 'web1');
      await view.become({ a: 'write', b: 'write' });
      await host.virsh('reset', 'web1');
      await view.become({ a: 'write', b: 'write' });
      await host.virsh('destroy', 'web1');
      await view.become({});
    });

    test('start paused: locked when it runs', async () => {
      await create({ name: 'web1', disks: [{ path: disk('a') }] }, '--paused');
      await view.become({});
      await host.virsh('resume', 'web1');
      await view.become({ a: 'write' });
      await host.virsh('suspend', 'web1');
      await host.virsh('destroy', 'web1');
    });

    test('save and restore', async () => {
      const file = join(folder, 'web1.saved');
      await create({ name: 'web1', disks: [{ path: disk('a') }] });
      await host.virsh('save', 'web1', file);
      await view.become({});
      await host.virsh('restore', file);
      await view.become({ a: 'write' });
      await host.virsh('save', 'web1', file, '--paused');
      await view.become({});
      await host.virsh('restore', file);
      await view.become({});
      await host.virsh('resume', 'web1');
      await view.become({ a: 'write' });
    });

    test('managed save', async () => {
      await host.virsh('define', xmlFile(folder, guestXml({ name: 'web1', disks: [{ path: disk('a') }] })));
      await host.virsh('start', 'web1');
      await view.become({ a: 'write' });
      await host.virsh('managedsave', 'web1');
      await view.become({});
      await host.virsh('start', 'web1');
      await view.become({ a: 'write' });
    });

    test('QEMU ends by itself, and crashes', async () => {
      const guest = { name: 'web1', disks: [{ path: disk('a') }] };
      await create(guest);
      // It may be gone before it has answered.
      await host.tryVirsh('qemu-monitor-command', 'web1', '{"execute":"quit"}');
      await view.become({});
      await until(async () => !(await host.tryVirsh('domstate', 'web1')).ok, 'libvirt to see it');
      await create(guest);
      await view.become({ a: 'write' });
      process.kill(host.qemuPid('web1'), 'SIGKILL');
      await view.become({});
      await until(async () => !(await host.tryVirsh('domstate', 'web1')).ok, 'libvirt to see it');
      await create(guest);
      await view.become({ a: 'write' });
    });

    test('attach and detach a disk', async () => {
      await create({ name: 'web1', disks: [{ path: disk('a') }] });
      const xml = xmlFile(folder, diskXml({ path: disk('b') }, 'sdb'));
      await host.virsh('attach-device', 'web1', xml, '--live');
      await view.become({ a: 'write', b: 'write' });
      await host.virsh('suspend', 'web1');
      await view.become({});
      await host.virsh('resume', 'web1');
      await view.become({ a: 'write', b: 'write' });
      await host.virsh('detach-device', 'web1', xml, '--live');
      await view.become({ a: 'write' });
    });

    test('attach and detach a lease', async () => {
      await create({ name: 'web1', disks: [{ path: disk('a') }] });
      const xml = xmlFile(folder, leaseXml(lease));
      await host.virsh('attach-device', 'web1', xml, '--live');
      await view.become({ a: 'write', lease: 'write' });
      await host.virsh('suspend', 'web1');
      await view.become({});
      await host.virsh('resume', 'web1');
      await view.become({ a: 'write', lease: 'write' });
      await host.virsh('detach-device', 'web1', xml, '--live');
      await view.become({ a: 'write' });
    });

    test('a snapshot: the new image is locked in place of the old one', async () => {
      const path = qcow2Disk(image);
      await create({ name: 'web1', disks: [{ path, format: 'qcow2' }] });
      await view.become({ image: 'write' });
      const spec = `sda,file=${overlay}`;
      await host.virsh('snapshot-create-as', 'web1', '--disk-only', '--diskspec', spec, '--no-metadata');
      await view.become({ overlay: 'write' });
      await host.virsh('suspend', 'web1');
      await view.become({});
      await host.virsh('resume', 'web1');
      await view.become({ overlay: 'write' });
    });

    test('two guests with one disk', async () => {
      await create({ name: 'web1', disks: [{ path: disk('a') }] });
      // QEMU's own lock refuses before libvirt asks for one.
      await refused('create', xmlFile(folder, guestXml({ name: 'web2', disks: [{ path: disk('a') }] })));
      await create({ name: 'web2', disks: [{ path: disk('b') }] });
      const xml = xmlFile(folder, diskXml({ path: disk('a') }, 'sdb'));
      const text = await refused('attach-device', 'web2', xml);
      assertSaysHeld(text, indirect ? basename(lockFileOf(disk('a'), lockspace)) : disk('a'), 'web1');
      await view.become({ a: 'write', b: 'write' });
    });

    // It locks the disk itself, which a guest does not care for whose lock is in a directory.
    if (!indirect) {
      test('a disk that another program has locked', async () => {
        const program = host.start(holdfast, ['run', '--disk', disk('a'), '--', 'sleep', '1000']);
        await until(
          () => lockOn(disk('a')) === 'write',
          () => `${program.stdout}${program.stderr}`,
        );
        const guest = { name: 'web1', disks: [{ path: disk('a') }] };
        const text = await refused('create', xmlFile(folder, guestXml(guest)));
        assert.ok(text.includes(`resource busy: Lockspace resource '${disk('a')}' is locked`), text);
        assert.equal(/ is locked by .*sleep.*pid \d+/.test(text), locks === 'holdfastd', text);
        process.kill(firstChild(program.pid), 'SIGKILL');
        await program.exited;
      });
    }

    test('two guests with one lease', async () => {
      await create({ name: 'web1', disks: [], leases: [lease] });
      await view.become({ lease: 'write' });
      const second = { name: 'web2', disks: [{ path: disk('b') }], leases: [lease] };
      assertSaysHeld(await refused('create', xmlFile(folder, guestXml(second))), lease.key, 'web1');
      // Of what was acquired before the one that was refused nothing is left.
      await view.become({ lease: 'write' });
      await host.virsh('destroy', 'web1');
      await create(second);
      await view.become({ b: 'write', lease: 'write' });
    });

    test('a shareable disk in two guests', async () => {
      const disks = [{ path: disk('a'), shareable: true }];
      await create({ name: 'web1', disks });
      await create({ name: 'web2', disks });
      await view.become({ a: 'read' });
      await host.virsh('destroy', 'web1');
      await view.become({ a: 'read' });
      await host.virsh('suspend', 'web2');
      await view.become({});
      await host.virsh('resume', 'web2');
      await view.become({ a: 'read' });
    });

    test('a read-only disk in two guests is not locked', async () => {
      const disks = [{ path: disk('a'), readonly: true }];
      await create({ name: 'web1', disks });
      await create({ name: 'web2', disks });
      await view.become({});
    });

    test('libvirtd starts again, also after a crash', async () => {
      await create({ name: 'web1', disks: [{ path: disk('a') }] });
      await create({ name: 'web2', disks: [{ path: disk('b') }] });
      await host.virsh('suspend', 'web2');
      for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
        await host.restartLibvirtd(signal);
        await view.become({ a: 'write' });
        assert.deepEqual([await state('web1'), await state('web2')], ['running', 'paused']);
        await host.virsh('resume', 'web2');
        await view.become({ a: 'write', b: 'write' });
        await host.virsh('suspend', 'web2');
      }
    });
  });
}
