import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cephCluster, networkIdentity, nvmeIdentity } from '../../src/plan/network-identity.js';

const of = (protocol: string, name: string, hosts: string[], aliases: Record<string, string> = {}): string =>
  networkIdentity(
    { type: 'network', protocol, name, hosts },
    { hostId: 'HOST', aliases: new Map(Object.entries(aliases)) },
  ).identity;

test('hosts in any order, any case, with or without the port that goes without saying', () => {
  assert.equal(of('sheepdog', 'web1', ['S2:7000', 's1']), 'net:sheepdog:s1,s2:web1');
  assert.equal(of('nbd', 'e', ['h:10810']), 'net:nbd:h:10810:e');
  assert.equal(of('nbd', 'e', ['[FD00::1]:10809']), 'net:nbd:[fd00::1]:e');
  assert.equal(of('nbd', 'e', ['fd00::1']), 'net:nbd:[fd00::1]:e');
});

test('aliases for a host and for a whole list', () => {
  assert.equal(of('nbd', 'e', ['b'], { b: 'a' }), 'net:nbd:a:e');
  assert.equal(of('sheepdog', 'i', ['s2', 's1'], { 's1,s2': 'farm' }), 'net:sheepdog:farm:i');
});

test('what separates the parts of an identity is written otherwise in a name', () => {
  assert.notEqual(of('nbd', '10810:e', ['h']), of('nbd', 'e', ['h:10810']));
  assert.equal(of('nbd', 'a:b%', ['h']), 'net:nbd:h:a%3Ab%25');
});

test('an image of Ceph is one whichever monitors lead to it, and where none is named', () => {
  for (const hosts of [[], ['mon1'], ['mon2:6789', 'Mon3']]) {
    assert.equal(of('rbd', 'vms/web1', hosts), 'net:rbd::vms/web1');
  }
});

test('the pool of Ceph that goes without saying, a namespace, a snapshot', () => {
  assert.equal(of('rbd', 'web1', []), 'net:rbd::rbd/web1');
  assert.equal(of('rbd', 'vms/tenant/web1', []), 'net:rbd::vms/tenant/web1');
  assert.equal(of('rbd', 'vms/web1@monday', []), 'net:rbd::vms/web1@monday');
});

test('two clusters of Ceph are told apart where each has an alias: by any monitor, a list of them or its id', () => {
  const aliases = { 'mon1,mon2,mon3': 'east', mon9: 'west', 'c9c2-id': 'east' };
  for (const hosts of [['mon1', 'mon2', 'mon3'], ['MON2:3300'], ['mon4', 'mon3']]) {
    assert.equal(of('rbd', 'vms/web1', hosts, aliases), 'net:rbd:east:vms/web1');
  }
  assert.equal(of('rbd', 'vms/web1', ['mon9'], aliases), 'net:rbd:west:vms/web1');
  assert.equal(of('rbd', 'vms/web1', ['mon7'], aliases), 'net:rbd::vms/web1');
  assert.equal(cephCluster(['c9c2-id'], new Map(Object.entries(aliases))), 'east');
  assert.equal(cephCluster(['east'], new Map(Object.entries(aliases))), 'east');
});

test('a socket or a loopback address is this host alone', () => {
  assert.equal(of('nbd', 'e', ['/run/NBD.sock']), 'net:nbd:HOST:/run/NBD.sock:e');
  for (const host of ['localhost', '127.0.0.1:10809', '::1', '[::1]:10809']) {
    assert.match(of('nbd', 'e', [host]), /^net:nbd:HOST:/);
  }
});

test('an iSCSI name is one on all its portals', () => {
  const iqn = 'iqn.2024-01.org.example:target/1';
  assert.equal(of('iscsi', iqn, ['a:3260']), of('iscsi', iqn, ['b']));
});

test('an iSCSI name has no case, and its unit is 0 where none is named', () => {
  const iqn = 'iqn.2024-01.org.example:target';
  const plain = of('iscsi', iqn, ['a']);
  assert.equal(plain, 'net:iscsi::iqn.2024-01.org.example%3Atarget/0');
  assert.equal(of('iscsi', `${iqn}/0`, ['a']), plain);
  assert.equal(of('iscsi', `${iqn.toUpperCase()}/00`, ['a']), plain);
  assert.notEqual(of('iscsi', `${iqn}/1`, ['a']), plain);
});

test('a gluster path may begin with a slash', () => {
  assert.equal(of('gluster', '/v1//a.img', ['h:24007']), 'net:gluster:h:v1/a.img');
});

test('an NVMe namespace goes by the address of its controller on this host', () => {
  assert.deepEqual(nvmeIdentity({ type: 'nvme', address: '0000:0A:00.0', namespace: 1 }, 'HOST'), {
    identity: 'nvme:HOST:0000:0a:00.0:1',
    scope: 'host',
  });
});
