import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { drivesOf } from '../../src/doctor/guest-drives.js';

const of = (...argv: readonly string[]) => drivesOf(['qemu-system-x86_64', ...argv]);
const writable = (path: string, locking: 'on' | 'off' | 'auto' = 'auto') => [
  { path, locking, readonly: false },
];
const read = (path: string) => [{ path, locking: 'auto', readonly: true }];

test('-drive in its forms', () => {
  assert.deepEqual(of('-drive', 'file=/a.img,format=raw'), writable('/a.img'));
  assert.deepEqual(of('--drive', 'file=/a,,b.img'), writable('/a,b.img'));
  assert.deepEqual(of('-drive', 'file=/a.img,file.locking=off'), writable('/a.img', 'off'));
  assert.deepEqual(
    of('-drive', 'driver=raw,file.filename=/a.img,file.locking=off'),
    writable('/a.img', 'off'),
  );
  assert.deepEqual(
    of('-drive', 'file.driver=qcow2,file.file.filename=/a,file.file.locking=on'),
    writable('/a', 'on'),
  );
  assert.deepEqual(of('-drive', 'file=file:/a.img'), writable('/a.img'));
  assert.deepEqual(of('-drive', 'file=/a.img,readonly=on'), read('/a.img'));
  assert.deepEqual(of('-drive', 'file=/a.img,snapshot=on'), read('/a.img'));
  assert.deepEqual(of('-drive', 'file=/a.iso,media=cdrom'), read('/a.iso'));
  assert.deepEqual(of('-drive', 'if=none,id=x'), []);
});

test('-blockdev as options and as JSON', () => {
  assert.deepEqual(
    of('-blockdev', 'driver=file,filename=/a.img,node-name=n,locking=off'),
    writable('/a.img', 'off'),
  );
  const nested = { driver: 'qcow2', file: { driver: 'file', filename: '/a.img', locking: 'off' } };
  assert.deepEqual(of('-blockdev', JSON.stringify(nested)), writable('/a.img', 'off'));
  const libvirt = { driver: 'file', filename: '/a.img', 'node-name': 'n', 'read-only': true };
  assert.deepEqual(of('-blockdev', JSON.stringify(libvirt)), read('/a.img'));
  const json = `json:${JSON.stringify({ driver: 'raw', file: { filename: '/a.img', locking: 'off' } })}`;
  assert.deepEqual(of('-drive', `file=${json.replaceAll(',', ',,')}`), writable('/a.img', 'off'));
  const below = {
    driver: 'qcow2',
    file: { filename: '/top' },
    backing: { file: { filename: '/base', locking: 'off' } },
  };
  assert.deepEqual(of('-blockdev', JSON.stringify(below)), writable('/top'));
});

test('short options; what is no file of this host', () => {
  assert.deepEqual(of('-hda', '/a.img', '-cdrom', '/b.iso'), [...writable('/a.img'), ...read('/b.iso')]);
  assert.deepEqual(
    of('-drive', 'file=rbd:pool/image', '-drive', 'file=nbd://h/x', '-hdb', '/dev/fdset/1'),
    [],
  );
  assert.deepEqual(of('-name', 'file=/a.img', '-drive'), []);
});

test('whatever a process has for arguments, nothing is thrown', () => {
  const piece = fc.constantFrom(
    '-drive',
    '-blockdev',
    '{',
    '}',
    '"file":',
    'json:',
    'file=',
    ',',
    '.',
    'locking=off',
    '\0',
  );
  const word = fc.oneof(
    fc.string(),
    fc.array(piece, { maxLength: 6 }).map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 8 }), (argv) => {
      for (const { path } of drivesOf(argv)) assert.notEqual(path, '');
    }),
  );
});
