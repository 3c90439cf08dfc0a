/**
 * Guests of a real libvirt under its plugin for sanlock: by which leases it locks what, and that a Holdfast command and a guest
 * keep each other out by them. All that `drivers/sanlock/libvirt-lease-names.ts` says of libvirt is seen here.
 */
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { diskLease, diskLockspace, leasesOf } from '../../src/drivers/sanlock/libvirt-lease-names.js';
import { readLibvirtSanlockSettings } from '../../src/drivers/sanlock/libvirt-sanlock-settings.js';
import type { Resource } from '../../src/vocabulary.js';
import { commandFolder, holdfast, start, type Ended, type Running } from '../beds/command.js';
import { firstChild } from '../beds/glusterfs.js';
import { LibvirtSystem, type VirshEnd } from '../beds/libvirt-system.js';
import { guestXml, xmlFile } from '../beds/libvirt-guest.js';
import { rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const needed = lacks(
  'root',
  'unshare',
  'libvirtd',
  'virsh',
  'qemu',
  'qemu-img',
  'qemu-nbd',
  'losetup',
  'sanlock',
  'sanlock plugin',
);
const MiB = 1024 * 1024;

describe('libvirt with sanlock', { skip: needed }, () => {
  const leaseDir = join(folder, 'leases');
  const path = (name: string): string => join(folder, name);
  const conf = `auto_disk_leases = 1\ndisk_lease_dir = "${leaseDir}"\nhost_id = 7\nio_timeout = 1\n`;
  let host: LibvirtSystem;
  let nbd: Running | undefined;
  let loop = '';

  before(async () => {
    mkdirSync(leaseDir);
    for (const name of ['a.img', 'b.img', 'c.img', 'd.img', 'e.img', 'f.img', 'g.img']) rawDisk(path(name));
    symlinkSync(path('a.img'), path('link.img'));
    host = await LibvirtSystem.start(folder, { name: 'host', locks: 'sanlock', sanlockConf: conf });
  });
  after(async () => {
    nbd?.child.kill();
    await host?.stop();
    if (loop !== '') await start('losetup', ['-d', loop], { input: '' }).ended;
  });

  afterEach(async () => {
    for (const name of (await host.virsh('list', '--name', '--all')).split('\n').filter(Boolean))
      await host.tryVirsh('destroy', name);
    await until(async () => (await held()).length === 0, 'all leases to be given back');
  });

  const run = (program: string, ...args: readonly string[]): Promise<Ended> =>
    host.start(program, args, { input: '' }).ended;

  /** What sanlock has granted here: `LOCKSPACE:NAME:PATH:OFFSET`, with SH if it is shared. */
  async function held(): Promise<string[]> {
    const { status, stdout, stderr } = await run('sanlock', 'client', 'status');
    assert.equal(status, 0, stderr);
    const lines = stdout
      .split('\n')
      .flatMap((line) => /^r (\S+):(\d+|SH) p \d+$/.exec(line)?.slice(1, 3) ?? []);
    return lines
      .flatMap((text, index) => (index % 2 === 0 ? [text + (lines[index + 1] === 'SH' ? ' SH' : '')] : []))
      .toSorted();
  }

  /** sanlock's time limit is short here, and a busy machine's disk can miss it: that is nobody's answer, and asked again. */
  async function create(name: string, devices: string, ...options: string[]): Promise<VirshEnd> {
    const file = xmlFile(folder, guestXml({ name, devices }));
    let end = await host.tryVirsh('create', file, ...options);
    for (let again = 0; again < 4 && /IO timeout/.test(end.text); again++)
      end = await host.tryVirsh('create', file, ...options);
    return end;
  }

  /** libvirt reads in the guest's log why its child has ended, where virtlogd may not have written it yet. */
  async function isRefused(devices: string, why: RegExp): Promise<void> {
    const file = host.outside('/var/log/libvirt/qemu/g.log');
    const log = (): string => (existsSync(file) ? readFileSync(file, 'utf8') : '');
    const before = log().length;
    const { ok, text } = await create('g', devices);
    assert.equal(ok, false);
    const all = (): string => text + log().slice(before);
    await until(() => why.test(all()), all);
  }

  async function runs(name: string, devices: string): Promise<void> {
    const { ok, text } = await create(name, devices);
    assert.ok(ok, text);
  }

  const nameOf = (disk: string, shared = false): string => {
    const { lockspace, name, path: file, offset } = diskLease(disk, leaseDir);
    return `${lockspace}:${name}:${file}:${offset}${shared ? ' SH' : ''}`;
  };

  /** What the driver asks for: the first one is the path as it is written. */
  function leasesHere(resource: Partial<Resource>): readonly string[] {
    const settings = readLibvirtSanlockSettings({
      qemu_sanlock_conf: host.outside('/etc/libvirt/qemu-sanlock.conf'),
    });
    const found = leasesOf(
      { kind: 'disk', identity: 'x', label: 'x', storage: 'file', scope: 'host', ...resource },
      settings,
    );
    assert.ok('leases' in found, JSON.stringify(found));
    return found.leases.map(
      ({ lockspace, name, path: file, offset }) => `${lockspace}:${name}:${file}:${offset}`,
    );
  }

  test('its lockspace is joined as the host of the settings', async () => {
    const { stdout } = await run('sanlock', 'client', 'status');
    assert.match(stdout, new RegExp(`^s ${diskLockspace}:7:${leaseDir}/${diskLockspace}:0`, 'm'));
  });

  /** What a guest has, and the names of the leases of it while it runs; undefined: none. */
  const table: readonly {
    readonly what: string;
    readonly devices: () => string;
    readonly leases: () => readonly string[];
  }[] = [
    {
      what: 'a file that is written: the MD5 of its path',
      devices: () => fileDisk(path('a.img')),
      leases: () => [nameOf(path('a.img'))],
    },
    {
      what: 'a symlink: its own name, not that of the file',
      devices: () => fileDisk(path('link.img')),
      leases: () => [nameOf(path('link.img'))],
    },
    {
      what: 'a shareable disk: shared',
      devices: () => fileDisk(path('b.img'), '<shareable/>'),
      leases: () => [nameOf(path('b.img'), true)],
    },
    {
      what: 'a block device: the MD5 of the name that is written, not of the node',
      devices: () =>
        `<disk type='block'><driver name='qemu' type='raw' cache='none'/><source dev='${path('device')}'/><target dev='sda' bus='scsi'/></disk>`,
      leases: () => [nameOf(path('device'))],
    },
    {
      what: 'a disk that is only read: none',
      devices: () => fileDisk(path('c.img'), '<readonly/>'),
      leases: () => [],
    },
    {
      what: 'a cdrom: none, whether it says so or not',
      devices: () =>
        `<disk type='file' device='cdrom'><source file='${path('c.img')}'/><target dev='sda' bus='scsi'/></disk>`,
      leases: () => [],
    },
    {
      what: 'an overlay: itself alone, and not what is below it',
      devices: () => fileDisk(path('overlay.qcow2'), '', 'qcow2'),
      leases: () => [nameOf(path('overlay.qcow2'))],
    },
    {
      what: 'a disk of the network: none',
      devices: () =>
        `<disk type='network'><driver name='qemu' type='raw'/><source protocol='nbd' name=''><host transport='unix' socket='${path('nbd.sock')}'/></source><target dev='sda' bus='scsi'/></disk>`,
      leases: () => [],
    },
    {
      what: 'a <lease>: as it is written',
      devices: () => leaseXml(diskLockspace, 'own', path('own-lease'), MiB),
      leases: () => [`${diskLockspace}:own:${path('own-lease')}:${MiB}`],
    },
    {
      what: 'several of them: each its own',
      devices: () =>
        fileDisk(path('a.img')) +
        fileDisk(path('b.img'), '<shareable/>', 'raw', 'sdb') +
        leaseXml(diskLockspace, 'own', path('own-lease'), MiB),
      leases: () =>
        [
          nameOf(path('a.img')),
          nameOf(path('b.img'), true),
          `${diskLockspace}:own:${path('own-lease')}:${MiB}`,
        ].toSorted(),
    },
  ];

  before(async () => {
    const overlay = ['create', '-q', '-f', 'qcow2', '-b', path('d.img'), '-F', 'raw', path('overlay.qcow2')];
    assert.equal((await start('qemu-img', overlay, { input: '' }).ended).status, 0);
    const made = await start('losetup', ['-f', '--show', path('g.img')], { input: '' }).ended;
    assert.equal(made.status, 0, made.stderr);
    loop = made.stdout.trim();
    symlinkSync(loop, path('device'));
    nbd = start('qemu-nbd', ['-t', '-f', 'raw', '-k', path('nbd.sock'), path('e.img')]);
    await until(() => statSync(path('nbd.sock'), { throwIfNoEntry: false }) !== undefined, 'an NBD server');
    const place = `${diskLockspace}:own:${path('own-lease')}:${MiB}`;
    const lease = await start(holdfast, ['lease', 'init', place], { input: '' }).ended;
    assert.equal(lease.status, 0, lease.stderr);
  });

  for (const { what, devices, leases } of table) {
    test(what, async () => {
      await runs('g', devices());
      assert.deepEqual(await held(), leases());
    });
  }

  test('the driver has the same names', () => {
    assert.deepEqual(leasesHere({ path: path('a.img'), realPath: path('a.img') }), [nameOf(path('a.img'))]);
    assert.deepEqual(leasesHere({ path: path('link.img'), realPath: path('a.img') }), [
      nameOf(path('link.img')),
      nameOf(path('a.img')),
    ]);
    const device = { storage: 'block' as const, path: '/dev/vg/lv', realPath: '/dev/dm-3' };
    assert.deepEqual(leasesHere(device), [nameOf('/dev/vg/lv')]);
  });

  test('leases are made when they are missing, with 1 MiB, and stay', async () => {
    await runs('g', fileDisk(path('f.img')));
    const { path: file, name } = diskLease(path('f.img'), leaseDir);
    assert.equal(statSync(file).size, MiB);
    await host.virsh('destroy', 'g');
    assert.ok(readdirSync(leaseDir).includes(name));
  });

  test('an empty file in the place of a lease is not mended', async () => {
    rawDisk(path('empty.img'));
    writeFileSync(diskLease(path('empty.img'), leaseDir).path, '');
    await isRefused(fileDisk(path('empty.img')), /Failed to acquire lock/);
  });

  test('a <lease> that was never made, and one of a lockspace that is not joined, are refused', async () => {
    truncateSync(path('own-lease'), 3 * MiB);
    const never = leaseXml(diskLockspace, 'never', path('own-lease'), 2 * MiB);
    await isRefused(never, /Lease does not exist on storage/);
    await isRefused(leaseXml('elsewhere', 'own', path('own-lease'), MiB), /No space left on device/);
  });

  test('a paused guest has none, and takes them again whoever has had them meanwhile', async () => {
    await runs('g', fileDisk(path('a.img')));
    await host.virsh('suspend', 'g');
    assert.deepEqual(await held(), []);
    const other = await run('sanlock', 'client', 'command', '-r', nameOf(path('a.img')), '-c', '/bin/true');
    assert.equal(other.status, 0, other.stderr);
    await until(async () => (await held()).length === 0, 'the other one to give it back');
    await host.virsh('resume', 'g');
    assert.deepEqual(await held(), [nameOf(path('a.img'))]);
  });

  test('a ninth lease is refused', async () => {
    const disks = Array.from({ length: 9 }, (_, index) => {
      rawDisk(path(`n${index}.img`));
      return fileDisk(path(`n${index}.img`), '', 'raw', `sd${'abcdefghi'[index]}`);
    });
    const devices = `${disks.join('')}<controller type='scsi' index='1' model='virtio-scsi'/>`;
    await isRefused(devices, /Too many resources 8/);
  });

  /** `holdfast run` on that host; its command goes on until the test ends it. */
  async function holdfastHolds(...args: readonly string[]): Promise<Running> {
    const running = host.start(holdfast, [
      'run',
      '--driver',
      'sanlock',
      ...args,
      '--',
      'sh',
      '-c',
      'echo up; exec sleep 600',
    ]);
    await running.says('up');
    return running;
  }

  test('while a guest runs a command is refused, and told who has the disk', async () => {
    await runs('g', fileDisk(path('a.img')));
    for (const disk of ['a.img', 'link.img']) {
      const args = ['run', '--driver', 'sanlock', '--disk', path(disk), '--', 'true'];
      const { status, stderr } = await run(holdfast, ...args);
      assert.equal(status, 75, stderr);
      assert.match(stderr, /\bg\b/);
    }
    await host.virsh('destroy', 'g');
    await until(async () => (await held()).length === 0, 'the lease to be given back');
    const { status, stderr } = await run(
      holdfast,
      'run',
      '--driver',
      'sanlock',
      '--disk',
      path('a.img'),
      '--',
      'true',
    );
    assert.equal(status, 0, stderr);
  });

  test('while a command runs a guest is refused, and starts when it has ended', async () => {
    const command = await holdfastHolds('--disk', path('a.img'));
    assert.deepEqual(await held(), [nameOf(path('a.img'))]);
    await isRefused(fileDisk(path('a.img')), /Failed to acquire lock/);
    await endOf(command);
    await until(async () => (await held()).length === 0, 'the lease to be given back');
    await runs('g', fileDisk(path('a.img')));
  });

  test('what both share both have', async () => {
    await runs('g', fileDisk(path('b.img'), '<shareable/>'));
    const command = await holdfastHolds('--disk', `${path('b.img')}:shared`);
    assert.deepEqual(await held(), [nameOf(path('b.img'), true), nameOf(path('b.img'), true)]);
    await endOf(command);
  });

  test('a lease of the XML excludes in the same way', async () => {
    await runs('g', leaseXml(diskLockspace, 'own', path('own-lease'), MiB));
    const lease = `${diskLockspace}:own:${path('own-lease')}:${MiB}`;
    const { status, stderr } = await run(
      holdfast,
      'run',
      '--driver',
      'sanlock',
      '--lease',
      lease,
      '--',
      'true',
    );
    assert.equal(status, 75, stderr);
    const shown = await run(holdfast, 'lease', 'show', '--json', path('own-lease'));
    const [area] = JSON.parse(shown.stdout) as [
      { hosts: { hostId: number; name: string; state: string; mode: string }[] },
    ];
    assert.deepEqual(
      area.hosts.map(({ hostId, name, state, mode }) => [hostId, name, state, mode]),
      [[7, 'host', 'alive', 'exclusive']],
    );
    const remade = await run(holdfast, 'lease', 'init', '--force', lease);
    assert.equal(remade.status, 75, remade.stdout);
    assert.match(remade.stderr, /is held by host \(host id 7, generation 1, alive\)/);
  });

  test('without settings it makes no leases of disks, and refuses guests that write', async () => {
    const other = await LibvirtSystem.start(folder, { name: 'bare', locks: 'sanlock' });
    try {
      const settings = readLibvirtSanlockSettings({}, [other.outside('/etc/libvirt')]);
      assert.deepEqual([settings.autoDiskLeases, settings.requireLeaseForDisks], [false, true]);
      const { ok, text } = await other.tryVirsh(
        'create',
        xmlFile(folder, guestXml({ name: 'g', devices: fileDisk(path('a.img')) })),
      );
      assert.equal(ok, false, text);
      assert.match(text, /no leases specified|Process exited prior to exec/);
      const read = xmlFile(folder, guestXml({ name: 'g', devices: fileDisk(path('a.img'), '<readonly/>') }));
      assert.ok((await other.tryVirsh('create', read)).ok);
    } finally {
      await other.stop();
    }
  });
});

/** What was started there is a child of nsenter. */
async function endOf(running: Running): Promise<void> {
  process.kill(firstChild(running.pid), 'SIGTERM');
  await running.exited;
}

function fileDisk(file: string, more = '', format = 'raw', target = 'sda'): string {
  return `<disk type='file'><driver name='qemu' type='${format}' cache='none'/><source file='${file}'/><target dev='${target}' bus='scsi'/>${more}</disk>`;
}

function leaseXml(lockspace: string, key: string, file: string, offset: number): string {
  return `<lease><lockspace>${lockspace}</lockspace><key>${key}</key><target path='${file}' offset='${offset}'/></lease>`;
}
