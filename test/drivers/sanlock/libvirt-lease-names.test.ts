/** Which leases stand for a resource. That libvirt has the same names, test/libvirt/sanlock.test.ts sees. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { leasesOf } from '../../../src/drivers/sanlock/libvirt-lease-names.js';
import type { Resource } from '../../../src/vocabulary.js';

const settings = { autoDiskLeases: true, diskLeaseDir: '/leases' };

function resource(more: Partial<Resource>): Resource {
  return { kind: 'disk', identity: 'x', label: 'x', storage: 'file', scope: 'cluster', ...more };
}

const named = (more: Partial<Resource>): readonly string[] => {
  const found = leasesOf(resource(more), settings);
  assert.ok('leases' in found, JSON.stringify(found));
  return found.leases.map(({ lockspace, name, path, offset, automatic }) =>
    [lockspace, name, path, offset, automatic].join(' '),
  );
};

const reason = (more: Partial<Resource>, other: Partial<typeof settings> | object = {}): string => {
  const found = leasesOf(resource(more), { ...settings, ...other });
  assert.ok('reason' in found, JSON.stringify(found));
  return found.reason;
};

/** `printf %s PATH | md5sum`. */
const md5 = {
  '/images/link': '5dd9be5b4d841d0be8f9e094957c2fa8',
  '/images/a.img': '0699977675d399887ed22353bd80c4d2',
  '/dev/vg/lv': '69c57b9e0929666a2f7e32640785abd6',
};

const diskName = (path: keyof typeof md5): string =>
  `__LIBVIRT__DISKS__ ${md5[path]} /leases/${md5[path]} 0 true`;

test('a file: the MD5 of each name of it, once, the written one first', () => {
  const paths = { path: '/images/link', realPath: '/images/a.img', otherPaths: ['/images/a.img'] };
  assert.deepEqual(named(paths), [diskName('/images/link'), diskName('/images/a.img')]);
  assert.deepEqual(named({ path: '/images/a.img', realPath: '/images/a.img' }), [diskName('/images/a.img')]);
});

test('a block device: not by its node, which is another disk on the next host', () => {
  assert.deepEqual(named({ storage: 'block', path: '/dev/vg/lv', realPath: '/dev/dm-3' }), [
    diskName('/dev/vg/lv'),
  ]);
});

test('a <lease>: as it is written, also where disks have none', () => {
  const lease = { lockspace: 'ls', key: 'k', path: '/leases/file', offset: 1048576 };
  const found = leasesOf(resource({ kind: 'lease', storage: 'name', lease }), {
    autoDiskLeases: false,
    diskLeaseDir: undefined,
  });
  assert.deepEqual(found, {
    leases: [{ lockspace: 'ls', name: 'k', path: '/leases/file', offset: 1048576, automatic: false }],
  });
});

test('what has none, and why', () => {
  assert.match(reason({ kind: 'domain', storage: 'name' }), /a guest as such, so it could run twice/);
  assert.match(reason({ storage: 'network' }), /what has no path/);
  const disk = { path: '/images/a.img' };
  assert.match(reason(disk, { autoDiskLeases: false }), /auto_disk_leases is off/);
  assert.match(reason(disk, { autoDiskLeases: undefined }), /cannot be read/);
  assert.match(reason(disk, { diskLeaseDir: undefined }), /cannot be read/);
  const unplaced = {
    kind: 'lease',
    storage: 'name',
    lease: { lockspace: 'ls', key: 'k', offset: 0 },
  } as const;
  assert.match(reason(unplaced), /where the lease x is kept/);
});

test('names and paths are as long as sanlock takes them, in bytes', () => {
  const lease = { lockspace: 'l'.repeat(48), key: 'ä'.repeat(24), path: `/${'p'.repeat(1022)}`, offset: 0 };
  const given = (more: object): Partial<Resource> => ({
    kind: 'lease',
    storage: 'name',
    lease: { ...lease, ...more },
  });
  assert.equal(named(given({})).length, 1);
  assert.match(reason(given({ lockspace: 'l'.repeat(49) })), /more than 48 bytes/);
  assert.match(reason(given({ key: `${'ä'.repeat(24)}.` })), /more than 48 bytes/);
  assert.match(reason(given({ path: `/${'p'.repeat(1023)}` })), /1024 bytes or more/);
});
