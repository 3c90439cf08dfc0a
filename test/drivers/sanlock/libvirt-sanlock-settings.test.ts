/** What libvirt's qemu-sanlock.conf says, with libvirt's defaults, and what Holdfast's own settings say instead. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { readLibvirtSanlockSettings } from '../../../src/drivers/sanlock/libvirt-sanlock-settings.js';
import { isHoldfastError } from '../../../src/errors.js';
import { privateRuntime } from '../../beds/private-folder.js';

const folder = privateRuntime();
let count = 0;

function configuration(text: string): string {
  const directory = join(folder, String(count++));
  mkdirSync(directory);
  writeFileSync(join(directory, 'qemu-sanlock.conf'), text);
  return directory;
}

const defaults = {
  autoDiskLeases: false,
  diskLeaseDir: '/var/lib/libvirt/sanlock',
  hostId: undefined,
  requireLeaseForDisks: true,
  ioTimeoutSeconds: 0,
  user: undefined,
  group: undefined,
  notes: [],
};

test("without a file libvirt's defaults hold", () => {
  assert.deepEqual(readLibvirtSanlockSettings({}, [join(folder, 'nowhere')]), defaults);
  assert.deepEqual(readLibvirtSanlockSettings({}, [configuration('# auto_disk_leases = 1\n')]), defaults);
});

test('what the file says', () => {
  const directory = configuration(`auto_disk_leases = 1
disk_lease_dir = "/shared/leases"
host_id = 12
io_timeout = 20
user = "sanlock"
group = "kvm"
`);
  assert.deepEqual(readLibvirtSanlockSettings({}, [directory]), {
    autoDiskLeases: true,
    diskLeaseDir: '/shared/leases',
    hostId: 12,
    requireLeaseForDisks: false,
    ioTimeoutSeconds: 20,
    user: 'sanlock',
    group: 'kvm',
    notes: [],
  });
  const both = configuration('auto_disk_leases = 1\nrequire_lease_for_disks = 1\nhost_id = 0\n');
  const read = readLibvirtSanlockSettings({}, [both]);
  assert.deepEqual([read.requireLeaseForDisks, read.hostId], [true, undefined]);
});

test("a user's own file goes before the system's, if there is one", () => {
  const system = configuration('host_id = 1\n');
  assert.equal(readLibvirtSanlockSettings({}, [system, configuration('host_id = 2\n')]).hostId, 2);
  assert.equal(readLibvirtSanlockSettings({}, [system, join(folder, 'nowhere')]).hostId, 1);
});

test("Holdfast's own settings win", () => {
  const directory = configuration('auto_disk_leases = 0\nhost_id = 1\n');
  const own = { auto_disk_leases: true, host_id: 9, disk_lease_dir: '/x', io_timeout: 5 };
  const read = readLibvirtSanlockSettings(own, [directory]);
  assert.deepEqual(
    [read.autoDiskLeases, read.hostId, read.diskLeaseDir, read.ioTimeoutSeconds, read.requireLeaseForDisks],
    [true, 9, '/x', 5, false],
  );
  const named = { qemu_sanlock_conf: join(configuration('host_id = 3\n'), 'qemu-sanlock.conf') };
  assert.equal(readLibvirtSanlockSettings(named, [directory]).hostId, 3);
});

test('a file that cannot be read leaves open what nobody says, and is told', () => {
  const directory = join(folder, String(count++));
  // A directory of that name: also root cannot read it.
  mkdirSync(join(directory, 'qemu-sanlock.conf'), { recursive: true });
  const read = readLibvirtSanlockSettings({}, [directory]);
  assert.deepEqual([read.autoDiskLeases, read.diskLeaseDir, read.hostId], [undefined, undefined, undefined]);
  assert.equal(read.requireLeaseForDisks, undefined);
  assert.match(read.notes.join(), /could not be read/);
  const own = { auto_disk_leases: true, host_id: 9, disk_lease_dir: '/x', io_timeout: 5 };
  assert.deepEqual(readLibvirtSanlockSettings(own, [directory]).notes, []);
});

test('what a setting of Holdfast has to be', () => {
  const wrong: readonly (readonly [string, unknown])[] = [
    ['auto_disk_leases', 1],
    ['disk_lease_dir', 'leases'],
    ['host_id', 0],
    ['host_id', 2001],
    ['host_id', '1'],
    ['io_timeout', -1],
    ['user', ''],
    ['qemu_sanlock_conf', 'here'],
  ];
  for (const [setting, value] of wrong) {
    assert.throws(
      () => readLibvirtSanlockSettings({ [setting]: value }, []),
      (error) => isHoldfastError(error, 'CONFIG') && error.setting === setting,
    );
  }
  for (const host of [1, 2000]) assert.equal(readLibvirtSanlockSettings({ host_id: host }, []).hostId, host);
});
