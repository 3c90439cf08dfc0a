import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { normaliseUuid } from '../../src/input/uuid.js';
import {
  combineGuests,
  parseDiskArgument,
  parseLeaseArgument,
  readDomainXml,
} from '../../src/input/read-input.js';
import { thrown } from './domain-xml.js';

describe('--disk', () => {
  const parse = (text: string) => {
    const disk = parseDiskArgument(text, { cwd: '/cwd' });
    assert.equal(disk.role, 'disk');
    assert.equal(disk.optional, false);
    assert.equal(disk.source.type, 'file');
    return [disk.label, disk.source.type === 'file' ? disk.source.path : '', disk.mode, disk.format];
  };

  for (const [text, ...expected] of [
    ['/a.img', '/a.img', '/a.img', 'exclusive', undefined],
    ['/a.img:exclusive', '/a.img', '/a.img', 'exclusive', undefined],
    ['/a.img:shared', '/a.img', '/a.img', 'shared', undefined],
    ['/a.img:read', '/a.img', '/a.img', 'read', undefined],
    ['/a.img:peek', '/a.img', '/a.img', 'peek', undefined],
    ['/a.img:format=qcow2', '/a.img', '/a.img', 'exclusive', 'qcow2'],
    ['/a.img:read:format=qcow2', '/a.img', '/a.img', 'read', 'qcow2'],
    ['/a:b:c', '/a:b:c', '/a:b:c', 'exclusive', undefined],
    ['/a.img:readonly', '/a.img:readonly', '/a.img:readonly', 'exclusive', undefined],
    ['/a.img:Read', '/a.img:Read', '/a.img:Read', 'exclusive', undefined],
    ['/a.img:', '/a.img:', '/a.img:', 'exclusive', undefined],
    ['/a:read:exclusive', '/a:read', '/a:read', 'exclusive', undefined],
    ['/a:format=raw:exclusive', '/a:format=raw', '/a:format=raw', 'exclusive', undefined],
    ['/a:format=b/c', '/a:format=b/c', '/a:format=b/c', 'exclusive', undefined],
    ['/read', '/read', '/read', 'exclusive', undefined],
    ['a.img:read', 'a.img', '/cwd/a.img', 'read', undefined],
    ['./a.img', './a.img', '/cwd/a.img', 'exclusive', undefined],
    ['.//./a.img', './/./a.img', '/cwd/a.img', 'exclusive', undefined],
    // Not tidied: if b is a symlink, the kernel goes elsewhere.
    ['b/../a.img', 'b/../a.img', '/cwd/b/../a.img', 'exclusive', undefined],
    ['../a.img', '../a.img', '/cwd/../a.img', 'exclusive', undefined],
    ['.', '.', '/cwd/.', 'exclusive', undefined],
    ['./', './', '/cwd/.', 'exclusive', undefined],
    [' /a ', ' /a ', '/cwd/ /a ', 'exclusive', undefined],
    ['/a\n:read', '/a\n', '/a\n', 'read', undefined],
  ] as const) {
    test(JSON.stringify(text), () => assert.deepEqual(parse(text), expected));
  }

  test('relative to the current folder', () => {
    assert.deepEqual(parseDiskArgument('a').source, { type: 'file', path: `${process.cwd()}/a` });
    assert.deepEqual(parseDiskArgument('a', { cwd: '/' }).source, { type: 'file', path: '/a' });
  });

  test('wrong', () => {
    for (const text of [
      '',
      ':read',
      ':format=raw',
      ':read:format=raw',
      '/a\0b',
      '/a:format=',
      '/a:format=QCOW2',
      '/a:format=qcow3',
      '/a:read:format=a b',
    ]) {
      const error = thrown('USAGE', () => parse(text));
      assert.equal(error.exitCode, 64);
      assert.match(error.remedy, /PATH\[:exclusive/);
    }
  });
});

describe('--lease', () => {
  for (const [text, expected] of [
    ['ls:key', { offset: 0 }],
    ['ls:key:/p', { path: '/p', offset: 0 }],
    ['ls:key:/p:1024', { path: '/p', offset: 1024 }],
    ['ls:key:/a:b:0', { path: '/a:b', offset: 0 }],
    ['ls:key:/a\\:b', { path: '/a:b', offset: 0 }],
    ['ls:key:/p:2M', { path: '/p', offset: 2097152 }],
  ] as const) {
    test(text, () => {
      const named = { label: 'ls:key', lockspace: 'ls', key: 'key' };
      assert.deepEqual(parseLeaseArgument(text), { ...named, ...expected });
    });
  }

  test('wrong', () => {
    for (const text of [
      '',
      'ls',
      'ls:',
      ':key',
      'ls:..:/p',
      '.:key',
      'a/b:key',
      'ls:key:',
      'ls:key:p',
      'ls:key:p:0',
      'ls:key:/p:',
      'ls:key:/p:x',
      'ls:key:/p:-1',
      'ls:key:/p:0x1',
      'ls:key:/a:b',
      'ls:key:/p:9007199254740992',
      'ls:key:/p\0:1',
      'ls\0:key',
    ]) {
      assert.match(thrown('USAGE', () => parseLeaseArgument(text)).remedy, /LOCKSPACE:KEY/);
    }
  });
});

describe('all together', () => {
  const disks = [parseDiskArgument('/b'), parseDiskArgument('/c:read')];
  const leases = [parseLeaseArgument('l:k')];
  const domain = readDomainXml(
    "<domain><name>g</name><on_lockfailure>ignore</on_lockfailure><devices><disk><source file='/a'/></disk></devices></domain>",
  );

  test('a domain is the owner of all', () => {
    const guest = combineGuests({ xml: [domain], disks, leases, name: 'other' });
    assert.equal(guest.owner, domain.owner);
    assert.deepEqual(
      guest.disks.map(({ label }) => label),
      ['/a', '/b', '/c'],
    );
    assert.deepEqual(guest.leases, leases);
    assert.equal(guest.onLockFailure, 'ignore');
    assert.deepEqual(combineGuests({ xml: [domain] }), domain);
  });

  test('without one a command is', () => {
    const guest = combineGuests({ disks, name: 'qemu-img' });
    assert.deepEqual({ ...guest.owner, uuid: '' }, { kind: 'command', name: 'qemu-img', uuid: '' });
    assert.equal(normaliseUuid(guest.owner.uuid), guest.owner.uuid);
    assert.equal(combineGuests({ leases }).owner.name, 'command');
  });

  test('of several domains the first is the owner, and the others must not run either', () => {
    const other = readDomainXml(
      "<domain><name>h</name><devices><disk><source file='/z'/></disk></devices></domain>",
    );
    const guest = combineGuests({ xml: [domain, other], disks });
    assert.equal(guest.owner, domain.owner);
    assert.deepEqual(guest.otherDomains, [other.owner]);
    assert.deepEqual(
      guest.disks.map(({ label }) => label),
      ['/a', '/z', '/b', '/c'],
    );
  });

  test('one domain twice, or nothing, is a mistake', () => {
    assert.match(
      thrown('USAGE', () => combineGuests({ xml: [domain, domain] })).message,
      /given twice: g and g/,
    );
    thrown('USAGE', () => combineGuests({}));
    thrown('USAGE', () => combineGuests({ xml: [], disks: [], leases: [], name: 'x' }));
  });
});
