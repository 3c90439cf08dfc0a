import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkFileSystems, judgeMount } from '../../src/doctor/check-file-system.js';
import type { Disk } from '../../src/doctor/host.js';
import { parseMounts } from '../../src/system/mounts.js';
import { privateFolder } from '../beds/private-folder.js';
import { ids, recordedHost } from './recorded-host.js';

const folder = privateFolder();

/** What is said of a mount, by the end of its line in mountinfo. */
function judged(line: string): string[] {
  const [mount] = [...parseMounts(`40 25 0:50 / /mnt rw,relatime - ${line}`).values()].flat();
  assert.ok(mount !== undefined);
  return ids(judgeMount(mount, '/mnt/a.img'));
}

const cases: readonly (readonly [line: string, ids: readonly string[]])[] = [
  ['ext4 /dev/sda1 rw', []],
  ['xfs /dev/sda1 rw', []],
  ['nfs4 nas:/images rw,vers=4.2,rsize=1048576,hard,proto=tcp,local_lock=none,addr=10.0.0.1', []],
  ['nfs4 nas:/images rw,vers=4.1,local_lock=flock', []],
  ['nfs nas:/images rw,vers=3,hard,nolock,proto=tcp,local_lock=all', ['nfs-locks-off', 'nfs-version-3']],
  ['nfs nas:/images rw,vers=3,hard,local_lock=none', ['nfs-version-3']],
  ['nfs nas:/images rw,vers=3,local_lock=flock', ['nfs-version-3']],
  ['nfs nas:/images rw,vers=3,local_lock=posix', ['nfs-locks-off', 'nfs-version-3']],
  ['cifs //nas/images rw,vers=3.1.1,serverino,nobrl', ['cifs-locks-off']],
  ['cifs //nas/images rw,vers=3.1.1,serverino', ['cifs-locks-mandatory']],
  ['smb3 //nas/images rw,vers=3.1.1', ['cifs-locks-mandatory', 'cifs-inodes-made-up']],
  ['gfs2 /dev/dm-0 rw,localflocks', ['cluster-locks-off']],
  ['gfs2 /dev/dm-0 rw', []],
  ['lustre mgs@tcp:/fs rw,localflock', ['cluster-locks-off']],
  ['lustre mgs@tcp:/fs rw,flock', []],
  ['fuse.glusterfs nas:/v1 rw', []],
  ['fuse.ceph-fuse ceph-fuse rw', []],
  ['ceph 10.0.0.1:6789:/ rw', []],
  ['fuse.sshfs me@nas:/images rw', ['fuse-locks-local']],
  ['fuse.rclone remote: rw', ['fuse-locks-local']],
  ['fuse.bindfs /srv rw', ['layered-file-system']],
  ['ecryptfs /home/me/.Private rw', ['layered-file-system']],
  ['fuse.somethingnew x rw', ['fuse-locks-unknown']],
  ['fuse x rw', ['fuse-locks-unknown']],
  ['fuseblk /dev/sdb1 rw', []],
  ['overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w', ['overlay-file-system']],
  ['9p share rw,trans=virtio', ['guest-share-locks']],
  ['virtiofs share rw', ['guest-share-locks']],
];

for (const [line, expected] of cases) {
  test(`${line}: ${expected.join(', ') || 'suits'}`, () => assert.deepEqual(judged(line), expected));
}

function disk(more: Partial<Disk['resource']> = {}): Disk {
  const inode = { dev: '0:50', ino: '7' };
  return {
    label: 'a.img',
    seen: { path: '/mnt/a.img', realPath: '/mnt/a.img', inode, storage: 'file' },
    resource: { kind: 'disk', identity: 'x', label: 'a.img', storage: 'file', scope: 'host', inode, ...more },
  };
}

test('the mount is found by the path and the device of the disk', () => {
  const proc = { 'self/mountinfo': '40 25 0:50 / /mnt rw - nfs nas:/i rw,vers=3,nolock,local_lock=all\n' };
  const host = recordedHost(folder, { proc });
  const found = checkFileSystems(host, [disk()]);
  assert.deepEqual(ids(found), ['nfs-locks-off', 'nfs-version-3']);
  assert.equal(found[0]?.subject, 'a.img');
  assert.match(found[0]?.evidence.join() ?? '', /0:50 nas:\/i on \/mnt \(nfs\).*nolock/);
});

test('a type that no table has is said once; a suitable one is fine', () => {
  const mounted = (line: string) =>
    recordedHost(folder, { proc: { 'self/mountinfo': `40 25 0:50 / /mnt rw - ${line}\n` } });
  const unknown = disk({ unknownFileSystem: 'newfs' });
  assert.deepEqual(ids(checkFileSystems(mounted('newfs x rw'), [unknown])), ['file-system-unknown']);
  assert.deepEqual(ids(checkFileSystems(mounted('ext4 /dev/sda1 rw'), [disk()])), ['file-system-suits']);
  const fuse = disk({ unknownFileSystem: 'fuse.sshfs' });
  assert.deepEqual(ids(checkFileSystems(mounted('fuse.sshfs x rw'), [fuse])), ['fuse-locks-local']);
});

test('of a block device the file system of its node says nothing', () => {
  const node = { ...disk(), seen: { ...disk().seen, storage: 'block' as const, device: '8:1' } };
  assert.deepEqual(checkFileSystems(recordedHost(folder), [node]), []);
});
