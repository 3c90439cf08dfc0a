import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileSystemUuid, readBlockDevice } from '../../src/system/block-devices.js';
import { lvmOnScsi, multipath, others, rbdFiles, sysTree } from './sys-tree.js';

test('a disk, a partition of it, a volume on that', (t) => {
  const sys = sysTree(t, lvmOnScsi);
  assert.deepEqual(readBlockDevice('8:0', sys), {
    name: 'sda',
    device: '8:0',
    slaves: [],
    wwid: { id: 'naa.600508b1001c79ade5178f0626caaa9c', bus: 'scsi' },
  });
  assert.deepEqual(readBlockDevice('8:2', sys), {
    name: 'sda2',
    device: '8:2',
    slaves: [],
    partition: { number: 2, disk: '8:0' },
  });
  assert.deepEqual(readBlockDevice('253:0', sys), {
    name: 'dm-0',
    device: '253:0',
    slaves: ['8:2'],
    dmUuid: 'LVM-a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6QrStUvWxYzAbCdEfGhIjKlMnOpQrStUv',
  });
});

test('paths of a multipath disk are its slaves', (t) => {
  assert.deepEqual(readBlockDevice('253:5', sysTree(t, multipath))?.slaves, ['8:16', '8:32']);
});

test('ids: NVMe, spaces in one, one of zeros, a mapping without', (t) => {
  const sys = sysTree(t, others);
  assert.deepEqual(readBlockDevice('259:0', sys)?.wwid, { id: 'eui.0025388b710116a1', bus: 'nvme' });
  assert.equal(readBlockDevice('8:48', sys)?.wwid?.id, 't10.ATA_QEMU_HARDDISK_QM00001');
  assert.equal(readBlockDevice('8:64', sys)?.wwid, undefined);
  assert.equal(readBlockDevice('253:8', sys)?.dmUuid, undefined);
  assert.equal(readBlockDevice('104:0', sys)?.name, 'cciss/c0d0');
});

test('a Ceph block device names its cluster, pool and image', (t) => {
  assert.deepEqual(readBlockDevice('252:0', sysTree(t, others, rbdFiles))?.rbd, {
    cluster: 'C9C21AD9-4A5E-4F3F-9B57-7A1F6F6B3D11',
    pool: 'vms',
    namespace: '',
    image: 'web1',
    snapshot: '',
  });
});

test('a loop device names its file, also a deleted one, and keeps spaces', (t) => {
  const loop = (file: string): unknown => {
    const attributes = { 'loop/backing_file': file, 'loop/offset': '1048576' };
    return readBlockDevice('7:0', sysTree(t, [{ at: 'virtual/block/loop0', device: '7:0', attributes }]))
      ?.loop;
  };
  assert.deepEqual(loop('/vm/a b.img '), { file: '/vm/a b.img ', deleted: false, offset: '1048576' });
  assert.deepEqual(loop('/vm/a.img (deleted)'), { file: '/vm/a.img', deleted: true, offset: '1048576' });
});

test('a device that sysfs does not have is undefined', (t) => {
  assert.equal(readBlockDevice('8:99', sysTree(t, [])), undefined);
});

test('no file system is named by what is no block device', (t) => {
  const dev = mkdtempSync(join(tmpdir(), 'holdfast-dev-'));
  t.after(() => rmSync(dev, { recursive: true }));
  assert.equal(fileSystemUuid('8:0', dev), undefined);
  mkdirSync(join(dev, 'disk/by-uuid'), { recursive: true });
  symlinkSync('../../gone', join(dev, 'disk/by-uuid/1111-2222'));
  symlinkSync('/dev/null', join(dev, 'disk/by-uuid/3333-4444'));
  assert.equal(fileSystemUuid('1:3', dev), undefined);
});
