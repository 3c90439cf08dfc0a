import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileIdentity } from '../../src/plan/file-identity.js';
import { fileSystemOf } from '../../src/plan/file-systems.js';
import { parseMounts } from '../../src/system/mounts.js';
import type { Surroundings } from '../../src/plan/surroundings.js';
import { needs } from '../needs.js';
import { scratch } from './guest.js';

/** Two mounts of one GlusterFS volume and others, as mountinfo showed them. */
const recorded = `
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
61 27 0:47 / /mnt/h1 rw,relatime - fuse.glusterfs node1:/v1 rw,user_id=0,group_id=0,default_permissions
62 27 0:48 / /mnt/h2 rw,relatime - fuse.glusterfs node1:v1 rw,user_id=0,group_id=0,default_permissions
63 27 0:49 / /mnt/sub rw,relatime - fuse.glusterfs node2:/v1/images rw
64 27 0:50 / /mnt/nfs rw,relatime - nfs4 NAS-a:/export//images/ rw,vers=4.2
65 27 0:51 / /mnt/nfs3 rw,relatime - nfs nas-b:/export/images rw,vers=3
66 27 0:52 / /mnt/six rw,relatime - nfs4 [fd00::1]:/x rw
67 27 0:53 /vms /mnt/ceph rw,relatime - ceph mon2,mon1:6789:/vms rw
68 27 0:54 / /mnt/ceph2 rw,relatime - ceph admin@c9c21ad9-4a5e.cephfs=/ rw
69 27 0:55 / /mnt/smb rw,relatime - cifs //Server/Share rw,vers=3.0,serverino
70 27 0:56 / /mnt/smb2 rw,relatime - cifs //Server/Share rw,vers=3.0
71 27 0:57 / /mnt/new rw,relatime - fuse.newfs somewhere rw
72 27 253:9 / /mnt/gfs rw,relatime - gfs2 /dev/mapper/san-gfs rw
`;

const around = (aliases: Record<string, string> = {}, local: string[] = []): Surroundings => ({
  hostId: 'HOST',
  aliases: new Map(Object.entries(aliases)),
  localFileSystems: new Set(local),
  mounts: () => parseMounts(recorded),
  isLocal: () => false,
  sys: '/nowhere',
  dev: '/nowhere',
});

// GlusterFS's inode numbers are above 2^53.
const ino = '10967583024123456789';
function identity(path: string, dev: string, surroundings = around()): string {
  return fileIdentity({ realPath: path, inode: { dev, ino } }, surroundings).identity;
}

test('a local file is this host, file system and inode', () => {
  assert.equal(identity('/vm/a.img', '254:0'), `file:HOST:254:0:${ino}`);
});

test('one GlusterFS volume, mounted twice and written two ways, is one', () => {
  const expected = `fs:glusterfs:node1:v1:${ino}`;
  assert.equal(identity('/mnt/h1/a.img', '0:47'), expected);
  assert.equal(identity('/mnt/h2/a.img', '0:48'), expected);
});

test('aliases bring two servers of one volume together, by host or by source', () => {
  for (const aliases of [
    { node2: 'node1' },
    { 'node2:v1': 'node1:/v1' },
    { 'node2:/v1/images': 'node1:v1' },
  ]) {
    assert.equal(identity('/mnt/sub/a.img', '0:49', around(aliases)), `fs:glusterfs:node1:v1:${ino}`);
  }
  assert.equal(identity('/mnt/sub/a.img', '0:49'), `fs:glusterfs:node2:v1:${ino}`);
});

test('NFS of both versions, with another name for the server', () => {
  assert.equal(identity('/mnt/nfs/a', '0:50'), `fs:nfs:nas-a:/export/images:${ino}`);
  assert.equal(identity('/mnt/nfs3/a', '0:51'), `fs:nfs:nas-b:/export/images:${ino}`);
  assert.equal(
    identity('/mnt/nfs3/a', '0:51', around({ 'nas-b': 'NAS-a' })),
    `fs:nfs:nas-a:/export/images:${ino}`,
  );
  assert.equal(identity('/mnt/six/a', '0:52'), `fs:nfs:[fd00::1]:/x:${ino}`);
  assert.equal(identity('/mnt/six/a', '0:52', around({ '[fd00::1]': 'nas-a' })), `fs:nfs:nas-a:/x:${ino}`);
});

test('CephFS goes by its monitors or its id; the mounted folder does not matter', () => {
  assert.equal(identity('/mnt/ceph/a', '0:53'), `fs:ceph:mon1:6789,mon2:${ino}`);
  assert.equal(identity('/mnt/ceph2/a', '0:54'), `fs:ceph:c9c21ad9-4a5e.cephfs:${ino}`);
});

test('CIFS counts only with inode numbers of the server', () => {
  assert.equal(identity('/mnt/smb/a', '0:55'), `fs:cifs:/server/share:${ino}`);
  const made = fileIdentity({ realPath: '/mnt/smb2/a', inode: { dev: '0:56', ino } }, around());
  assert.deepEqual(made, { identity: `file:HOST:0:56:${ino}`, scope: 'host', unknownFileSystem: 'cifs' });
});

test('an unknown type counts as local and says so, until configuration names it', () => {
  const seen = { realPath: '/mnt/new/a', inode: { dev: '0:57', ino } };
  assert.equal(fileIdentity(seen, around()).unknownFileSystem, 'fuse.newfs');
  assert.equal(fileIdentity(seen, around({}, ['fuse.newfs'])).unknownFileSystem, undefined);
  assert.deepEqual(fileSystemOf(undefined, new Map()), { kind: 'unknown', type: 'unknown' });
});

test('what several hosts mount from one device goes by the uuid that mkfs wrote, where udev shows it', (t) => {
  if (!needs(t, 'root')) return;
  const dev = scratch(t);
  mkdirSync(join(dev, 'disk/by-uuid'), { recursive: true });
  execFileSync('mknod', [join(dev, 'dm-9'), 'b', '253', '9']);
  symlinkSync('../../dm-9', join(dev, 'disk/by-uuid/0b1f4c2a-7c35-4a0e-9a31-0d6b0f6e8a11'));
  const wanted = `fs:gfs2:0b1f4c2a-7c35-4a0e-9a31-0d6b0f6e8a11:${ino}`;
  assert.equal(identity('/mnt/gfs/a', '253:9', { ...around(), dev }), wanted);
});

test('a file system that several hosts mount from one device', () => {
  assert.equal(identity('/mnt/gfs/a', '253:9'), `fs:gfs2:/dev/mapper/san-gfs:${ino}`);
  const aliases = { '/dev/mapper/san-gfs': 'cluster1:gfs' };
  assert.equal(identity('/mnt/gfs/a', '253:9', around(aliases)), `fs:gfs2:cluster1:gfs:${ino}`);
});
