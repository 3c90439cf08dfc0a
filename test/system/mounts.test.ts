import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import { inodeOf } from '../../src/system/inode.js';
import { mountOf, parseMounts, readMounts } from '../../src/system/mounts.js';

const table = parseMounts(`22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
40 27 0:45 / /mnt/with\\040space\\134 rw shared:7 master:2 - fuse.glusterfs h1:/v1 rw,user_id=0
41 27 8:1 / /data rw - xfs /dev/sda1 rw
42 27 0:50 /sub /data/b rw - btrfs /dev/sdb rw
43 27 8:17 / /data rw - ext4 /dev/sdb1 rw
44 27 8:33 / /data/b/old rw - ext4 /dev/sdc1 rw
a line that is none
`);

test('fields are unescaped, and optional fields passed over', () => {
  const mount = mountOf(table, '/mnt/with space\\/a.img', '0:45');
  assert.deepEqual(mount, {
    dev: '0:45',
    point: '/mnt/with space\\',
    type: 'fuse.glusterfs',
    source: 'h1:/v1',
    options: ['rw', 'user_id=0'],
  });
});

test('the longest mount point of the right device wins, of several the last', () => {
  assert.equal(mountOf(table, '/etc/passwd', '254:0')?.source, '/dev/vda');
  assert.equal(mountOf(table, '/data/x', '8:17')?.source, '/dev/sdb1');
  assert.equal(mountOf(table, '/data/x', '8:1')?.source, '/dev/sda1');
  assert.equal(mountOf(table, '/', '254:0')?.source, '/dev/vda');
});

test('a mount that is hidden under another is not taken', () => {
  assert.equal(mountOf(table, '/data/b/old/x', '8:17')?.source, '/dev/sdb1');
});

test('a name that only begins like a mount point is not on it', () => {
  assert.equal(mountOf(table, '/database', '254:0')?.source, '/dev/vda');
});

test('a device that is in no line (btrfs) goes by the mount point', () => {
  assert.equal(mountOf(table, '/data/b/x', '0:77')?.type, 'btrfs');
});

test('the table of this machine knows what is at /', () => {
  const stats = statSync('/', { bigint: true });
  assert.equal(mountOf(readMounts(), '/', inodeOf(stats).dev)?.point, '/');
});
