import assert from 'node:assert/strict';
import { test } from 'node:test';
import { networkIdentity, nvmeIdentity } from '../../src/plan/network-identity.js';

const of = (protocol: string, name: string, hosts: string[], aliases: Record<string, string> = {}): string =>
  networkIdentity(
    { type: 'network', protocol, name, hosts },
    { hostId: 'HOST', aliases: new Map(Object.entries(aliases)) },
  ).identity;

test('hosts in any order, any case, with or without the port that goes without saying', () => {
  assert.equal(of('rbd', 'vms/web1', ['Mon2:6789', 'mon1']), 'net:rbd:mon1,mon2:vms/web1');
  assert.equal(of('rbd', 'vms/web1', ['mon1', 'mon2:3300']), 'net:rbd:mon1,mon2:vms/web1');
  assert.equal(of('nbd', 'e', ['h:10810']), 'net:nbd:h:10810:e');
  assert.equal(of('nbd', 'e', ['[FD00::1]:10809']), 'net:nbd:[fd00::1]:e');
  assert.equal(of('nbd', 'e', ['fd00::1']), 'net:nbd:[fd00::1]:e');
});

test('aliases for a host and for a whole list', () => {
  assert.equal(of('nbd', 'e', ['b'], { b: 'a' }), 'net:nbd:a:e');
  assert.equal(of('rbd', 'p/i', ['mon2', 'mon1'], { 'mon1,mon2': 'c9c2' }), 'net:rbd:c9c2:p/i');
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

test('a gluster path may begin with a slash', () => {
  assert.equal(of('gluster', '/v1//a.img', ['h:24007']), 'net:gluster:h:v1/a.img');
});

test('an NVMe namespace goes by the address of its controller on this host', () => {
  assert.deepEqual(nvmeIdentity({ type: 'nvme', address: '0000:0A:00.0', namespace: 1 }, 'HOST'), {
    identity: 'nvme:HOST:0000:0a:00.0:1',
    scope: 'host',
  });
});
