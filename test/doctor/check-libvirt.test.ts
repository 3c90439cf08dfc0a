import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkLibvirt } from '../../src/doctor/check-libvirt.js';
import type { Disk, Host } from '../../src/doctor/host.js';
import { readConfiguration } from '../../src/doctor/libvirt-configuration.js';
import { parseListeningSockets } from '../../src/system/kernel-settings.js';
import { privateFolder } from '../beds/private-folder.js';
import { needs } from '../needs.js';
import { bootSeconds, ids, only, recordedHost, type Recorded } from './recorded-host.js';

const folder = privateFolder();
const socketLine = '0000000000000000: 00000002 00000000 00010000 0001 01 23456 /run/libvirt/virtlockd-sock\n';
const listening = { 'net/unix': `Num       RefCount Protocol Flags    Type St Inode Path\n${socketLine}` };

function host(qemu: string, lockd?: string, more: Recorded = {}): Host {
  const etc = {
    'libvirt/qemu.conf': qemu,
    ...(lockd === undefined ? {} : { 'libvirt/qemu-lockd.conf': lockd }),
  };
  return recordedHost(folder, { ...more, etc });
}

test('no libvirt, no lock manager, lockd, another one', () => {
  assert.deepEqual(ids(checkLibvirt(recordedHost(folder), [])), ['libvirt-absent']);
  assert.deepEqual(ids(checkLibvirt(host('#lock_manager = "lockd"\n'), [])), ['libvirt-locks-off']);
  assert.deepEqual(ids(checkLibvirt(host('lock_manager = "nop"\n'), [])), ['libvirt-locks-off']);
  assert.deepEqual(ids(checkLibvirt(host('lock_manager = "other"\n'), [])), ['libvirt-other-manager']);
  const lockd = checkLibvirt(host('lock_manager = "lockd"\n', undefined, { proc: listening }), []);
  assert.deepEqual(ids(lockd), ['libvirt-locks-on', 'virtlockd-running']);
});

test('virtlockd counts as running by its socket or by a process of root, and not otherwise', () => {
  const found = (more: Recorded): string[] =>
    ids(checkLibvirt(host('lock_manager = "lockd"\n', undefined, more), []));
  const daemon = { pid: 77, argv: ['/usr/sbin/virtlockd'] };
  assert.ok(found({ proc: listening }).includes('virtlockd-running'));
  assert.ok(found({ processes: [daemon] }).includes('virtlockd-running'));
  assert.ok(found({}).includes('virtlockd-not-running'));
  // One user's own serves that user's session.
  assert.ok(found({ processes: [{ ...daemon, uid: 1000 }] }).includes('virtlockd-not-running'));
  const connected = { 'net/unix': socketLine.replace('00010000', '00000000') };
  assert.ok(found({ proc: connected }).includes('virtlockd-not-running'));
});

test('nobody asks for virtlockd where it is not the lock manager', () => {
  assert.ok(!ids(checkLibvirt(host('lock_manager = "sanlock"\n'), [])).includes('virtlockd-not-running'));
});

test('auto_disk_leases = 0: disks are not locked', () => {
  const found = (lockd: string) =>
    checkLibvirt(host('lock_manager = "lockd"\n', lockd, { proc: listening }), []);
  const off = only(found('auto_disk_leases = 0\n'), 'libvirt-disks-unlocked');
  assert.match(off.what, /refused/);
  assert.deepEqual(off.evidence.slice(1), ['auto_disk_leases = 0, require_lease_for_disks = 1']);
  const lax = only(found('auto_disk_leases = 0\nrequire_lease_for_disks = 0\n'), 'libvirt-disks-unlocked');
  assert.doesNotMatch(lax.what, /refused/);
  assert.deepEqual(ids(found('auto_disk_leases = 1\n')), ['libvirt-locks-on', 'virtlockd-running']);
});

test('a lockspace directory is a note; on this host alone, for a shared disk, a problem', () => {
  const lockspace = join(folder, 'lockspace/files');
  const settings = `file_lockspace_dir = "${lockspace}"\n`;
  const disk = (scope: 'host' | 'cluster'): Disk => {
    const inode = { dev: '0:50', ino: '7' };
    return {
      label: 'a.img',
      seen: { path: '/mnt/a.img', realPath: '/mnt/a.img', inode, storage: 'file' },
      resource: { kind: 'disk', identity: 'fs:nfs:nas:7', label: 'a.img', storage: 'file', scope, inode },
    };
  };
  const found = (scope: 'host' | 'cluster', type = 'ext4', qemu = 'lock_manager = "lockd"\n') => {
    const proc = { ...listening, 'self/mountinfo': `25 1 0:50 / / rw - ${type} nas:/x rw\n` };
    return ids(checkLibvirt(host(qemu, settings, { proc }), [disk(scope)]));
  };
  assert.ok(found('host').includes('lockspace-directory'));
  assert.ok(!found('host').includes('lockspace-not-shared'));
  assert.ok(found('cluster').includes('lockspace-not-shared'));
  assert.ok(!found('cluster', 'nfs4').includes('lockspace-not-shared'));
  assert.ok(!found('cluster', 'ext4', '#lock_manager = "lockd"\n').includes('lockspace-directory'));
});

test('settings that are newer than the daemon are said to be so', () => {
  const found = (changed: number, program = 'libvirtd', uid = 0): string[] => {
    const daemon = { pid: 5, argv: [`/usr/sbin/${program}`], uid, start: 1_000 };
    const one = host('lock_manager = "lockd"\n', '', { proc: listening, processes: [daemon] });
    for (const file of ['qemu.conf', 'qemu-lockd.conf']) {
      utimesSync(join(one.roots.etc, 'libvirt', file), changed, changed);
    }
    return ids(checkLibvirt(one, []));
  };
  // It started ten seconds after the boot.
  assert.ok(!found(bootSeconds + 5).includes('libvirt-not-restarted'));
  assert.ok(found(bootSeconds + 60).includes('libvirt-not-restarted'));
  assert.ok(found(bootSeconds + 60, 'virtqemud').includes('libvirt-not-restarted'));
  assert.ok(!found(bootSeconds + 60, 'libvirtd', 1000).includes('libvirt-not-restarted'));
  assert.ok(!found(bootSeconds + 60, 'sleep').includes('libvirt-not-restarted'));
});

test('an ordinary user is told that qemu.conf cannot be read', (t) => {
  if (!needs(t, 'root')) return;
  const one = host('lock_manager = "lockd"\n');
  chmodSync(join(one.roots.etc, 'libvirt/qemu.conf'), 0o000);
  for (let path = one.roots.etc; path.startsWith(folder); path = join(path, '..')) chmodSync(path, 0o755);
  let found;
  process.seteuid?.(65534);
  try {
    found = checkLibvirt(one, []);
  } finally {
    process.seteuid?.(0);
  }
  const unseen = only(found, 'libvirt-settings-unseen');
  assert.match(unseen.evidence.join(), /EACCES/);
  assert.deepEqual(ids(found), ['libvirt-settings-unseen']);
});

test("a user's own libvirt counts once there is something of it", () => {
  const own = join(folder, 'config/libvirt');
  mkdirSync(own, { recursive: true });
  assert.equal(readConfiguration(own, false), undefined);
  mkdirSync(join(own, 'qemu'));
  assert.equal(readConfiguration(own, false)?.lockManager, 'nop');
  writeFileSync(join(own, 'qemu.conf'), 'lock_manager = "lockd"\n');
  assert.equal(readConfiguration(own, false)?.lockManager, 'lockd');
});

test('sockets that somebody listens on, by their flag', () => {
  const text = `Num       RefCount Protocol Flags    Type St Inode Path
00000000abcdef01: 00000003 00000000 00000000 0001 03  1664
00000000abcdef02: 00000003 00000000 00000000 0001 03  1665 /run/connected
00000000abcdef03: 00000002 00000000 00010000 0001 01  1666 /run/with space
00000000abcdef04: 00000002 00000000 00010000 0001 01  1667 @abstract
not a line
`;
  assert.deepEqual(parseListeningSockets(text), ['/run/with space']);
});
