import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { sanlockFindings } from '../../src/doctor/check-sanlock.js';
import type { Host } from '../../src/doctor/host.js';
import { privateFolder } from '../beds/private-folder.js';
import { ids, only, recordedHost, type Recorded } from './recorded-host.js';

const folder = privateFolder();
const lockspace = join(folder, '__LIBVIRT__DISKS__');
writeFileSync(lockspace, '');
const daemon = { pid: 77, argv: ['/usr/sbin/sanlock', 'daemon'] };
const conf = `auto_disk_leases = 1\nhost_id = 3\ndisk_lease_dir = "${folder}"\n`;

function host(sanlock: string | undefined, more: Recorded = {}): Host {
  const etc = {
    'libvirt/qemu.conf': 'lock_manager = "sanlock"\n',
    ...(sanlock === undefined ? {} : { 'libvirt/qemu-sanlock.conf': sanlock }),
  };
  return recordedHost(folder, { ...more, etc });
}

const found = (one: Host, ...drivers: string[]): string[] => ids(sanlockFindings(one, drivers));

test('nobody is set to it: nothing is said', () => {
  assert.deepEqual(found(recordedHost(folder), 'fcntl'), []);
  const lockd = recordedHost(folder, { etc: { 'libvirt/qemu.conf': 'lock_manager = "lockd"\n' } });
  assert.deepEqual(found(lockd), []);
});

test('libvirt is set to it, and Holdfast is or is not', () => {
  const joined = host(conf, { processes: [{ ...daemon, fds: { 5: { to: lockspace, flags: '0140002' } } }] });
  assert.deepEqual(found(joined, 'sanlock', 'fcntl'), ['libvirt-locks-sanlock', 'sanlock-running']);
  assert.deepEqual(found(joined, 'fcntl'), ['libvirt-other-manager', 'sanlock-running']);
  assert.match(
    only(sanlockFindings(joined, []), 'libvirt-other-manager').remedy ?? '',
    /drivers = \["sanlock"/,
  );
});

test('the daemon counts as running by its process or its socket', () => {
  const line = '0000000000000000: 00000002 00000000 00010000 0001 01 23456 /run/sanlock/sanlock.sock\n';
  const listening = { 'net/unix': `Num       RefCount Protocol Flags    Type St Inode Path\n${line}` };
  assert.ok(found(recordedHost(folder), 'sanlock').includes('sanlock-not-running'));
  assert.ok(found(recordedHost(folder, { proc: listening }), 'sanlock').includes('sanlock-running'));
  assert.ok(found(recordedHost(folder, { processes: [daemon] }), 'sanlock').includes('sanlock-running'));
  const client = { pid: 78, argv: ['/usr/sbin/sanlock', 'client', 'status'] };
  assert.ok(found(recordedHost(folder, { processes: [client] }), 'sanlock').includes('sanlock-not-running'));
});

test('the lockspace of disks: joined, or not, or not to be seen', () => {
  const processes = [daemon];
  assert.ok(found(host(conf, { processes })).includes('sanlock-lockspace-missing'));
  assert.ok(!found(host(conf, { processes, uid: 1000 })).includes('sanlock-lockspace-missing'));
  assert.ok(!found(host(conf)).includes('sanlock-lockspace-missing'));
});

test('settings with which no disk is locked, or libvirt does not start', () => {
  assert.ok(found(host(undefined)).includes('sanlock-disks-unlocked'));
  assert.ok(found(host('auto_disk_leases = 0\n')).includes('sanlock-disks-unlocked'));
  assert.ok(found(host('auto_disk_leases = 1\n')).includes('sanlock-host-id-missing'));
  assert.ok(found(host('auto_disk_leases = 1\nhost_id = 0\n')).includes('sanlock-host-id-missing'));
});
