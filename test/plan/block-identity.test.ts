import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { BlockIdentities } from '../../src/plan/block-identity.js';
import { Identities } from '../../src/plan/identities.js';
import type { Surroundings } from '../../src/plan/surroundings.js';
import type { Resource } from '../../src/vocabulary.js';
import { lvmOnScsi, multipath, others, rbdFiles, sysTree, type SysDevice } from '../system/sys-tree.js';

function surroundings(t: TestContext, devices: readonly SysDevice[], files = {}): Surroundings {
  return {
    hostId: 'HOST',
    aliases: new Map(),
    localFileSystems: new Set(),
    mounts: () => new Map(),
    isLocal: () => false,
    sys: sysTree(t, devices, files),
    dev: '/nowhere',
  };
}

function block(device: string): Resource {
  return { kind: 'disk', identity: 'set below', label: 'd', storage: 'block', scope: 'host', device };
}

/** The identities around a device, nearest first. */
function ancestors(around: Surroundings, device: string): string[] {
  const identities = new Identities(around);
  const { identity } = new BlockIdentities(around).of(device);
  return identities.ancestorsOf({ ...block(device), identity }).resources.map((r) => r.identity);
}

const disk = 'wwid:naa.600508b1001c79ade5178f0626caaa9c';

test('LVM volumes go by their uuid, and ask for partition and disk', (t) => {
  const around = surroundings(t, lvmOnScsi);
  const found = new BlockIdentities(around).of('253:0');
  assert.equal(found.identity, 'lvm:QrStUv-WxYz-AbCd-EfGh-IjKl-MnOp-QrStUv');
  assert.equal(found.lvmUuid, 'QrStUv-WxYz-AbCd-EfGh-IjKl-MnOp-QrStUv');
  assert.equal(found.scope, 'cluster');
  assert.deepEqual(ancestors(around, '253:0'), [`${disk}:part:2`, disk]);
});

test('two thin volumes meet in their pool', (t) => {
  const around = surroundings(t, lvmOnScsi);
  const pool = 'lvm:PoolPo-olPo-olPo-olPo-olPo-olPo-olPool-tpool';
  assert.deepEqual(ancestors(around, '253:2'), [pool, `${disk}:part:2`, disk]);
  assert.deepEqual(ancestors(around, '253:3'), [pool, `${disk}:part:2`, disk]);
  assert.equal(new BlockIdentities(around).of('253:1').lvmUuid, undefined);
});

test('SCSI disks go by their world-wide id, also as scsi_id writes it', (t) => {
  const identities = new BlockIdentities(surroundings(t, [...lvmOnScsi, ...others]));
  assert.equal(identities.of('8:0').identity, disk);
  assert.equal(identities.of('8:0').scsiId, '3600508b1001c79ade5178f0626caaa9c');
  assert.equal(identities.of('8:48').scsiId, '1ATA_QEMU_HARDDISK_QM00001');
  assert.equal(identities.of('8:64').identity, 'block:HOST:8:64');
});

test('a multipath disk and its paths are one, and so are its partitions', (t) => {
  const around = surroundings(t, multipath);
  const identities = new BlockIdentities(around);
  const san = 'wwid:naa.6001405f5e2c3a1b';
  for (const device of ['8:16', '8:32', '253:5']) {
    assert.equal(identities.of(device).identity, san);
    assert.deepEqual(ancestors(around, device), []);
  }
  for (const device of ['8:17', '253:6']) {
    assert.equal(identities.of(device).identity, `${san}:part:1`);
    assert.deepEqual(ancestors(around, device), [san]);
  }
});

test('NVMe, LUKS, a plain mapping, one without uuid', (t) => {
  const around = surroundings(t, others);
  const identities = new BlockIdentities(around);
  const nvme = 'wwid:eui.0025388b710116a1';
  assert.equal(identities.of('259:0').identity, nvme);
  assert.equal(identities.of('259:0').scsiId, undefined);
  assert.equal(identities.of('253:7').identity, 'dm:CRYPT-LUKS2-4f0e7a3ad9e14f0f9d5c52f6c2a0b8aa');
  assert.deepEqual(ancestors(around, '253:7'), [`${nvme}:part:1`, nvme]);
  assert.equal(identities.of('253:8').identity, 'block:HOST:253:8');
  assert.deepEqual(ancestors(around, '253:8'), [nvme]);
  assert.equal(identities.of('253:9').identity, 'dm:HOST:CRYPT-PLAIN-swap');
  assert.equal(identities.of('253:9').scope, 'host');
});

test('a Ceph block device is written as a network disk is', (t) => {
  const found = new BlockIdentities(surroundings(t, others, rbdFiles)).of('252:0');
  assert.equal(found.identity, 'net:rbd::vms/web1');
  assert.equal(found.scope, 'cluster');
  const aliases = new Map([['c9c21ad9-4a5e-4f3f-9b57-7a1f6f6b3d11', 'east']]);
  const named = new BlockIdentities({ ...surroundings(t, others, rbdFiles), aliases }).of('252:0');
  assert.equal(named.identity, 'net:rbd:east:vms/web1');
});

test('devices that stand on each other end', (t) => {
  const around = surroundings(t, others);
  assert.deepEqual(ancestors(around, '253:10'), ['block:HOST:253:11']);
});

test('a device without sysfs keeps its number, and the plan says what it could not see', (t) => {
  const around = surroundings(t, []);
  const found = new Identities(around).ancestorsOf(block('8:0'));
  assert.deepEqual(found.resources, []);
  assert.match(found.notes.join(), /sysfs does not show/);
});

test('the file of a loop device that is gone is said', (t) => {
  const attributes = { 'loop/backing_file': '/nowhere/a.img (deleted)', 'loop/offset': '0' };
  const around = surroundings(t, [{ at: 'virtual/block/loop0', device: '7:0', attributes }]);
  assert.match(new Identities(around).ancestorsOf(block('7:0')).hidden ?? '', /has no name here/);
});
