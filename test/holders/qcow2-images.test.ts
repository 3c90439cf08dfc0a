import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { qcow2Images } from '../../src/holders/find-holders.js';

const images = (...argv: readonly string[]): string[] => qcow2Images(['qemu-system-x86_64', ...argv]);

test('a drive, with its format said in any of the ways', () => {
  assert.deepEqual(images('-drive', 'file=/a.qcow2,if=virtio,format=qcow2'), ['/a.qcow2']);
  assert.deepEqual(images('-drive', 'driver=qcow2,file.filename=/a,,b.qcow2'), ['/a,b.qcow2']);
  assert.deepEqual(images('-drive', 'driver=qcow2,file.driver=file,file.filename=/a'), ['/a']);
  assert.deepEqual(images('-drive', 'file=file:/a,format=qcow2'), ['/a']);
});

test('nodes, as libvirt writes them and by hand', () => {
  const storage = '{"driver":"file","filename":"/a.qcow2","node-name":"libvirt-1-storage"}';
  const format =
    '{"node-name":"libvirt-1-format","driver":"qcow2","file":"libvirt-1-storage","backing":null}';
  assert.deepEqual(images('-blockdev', storage, '-blockdev', format), ['/a.qcow2']);
  assert.deepEqual(images('--blockdev', 'driver=qcow2,node-name=d,file.driver=file,file.filename=/a'), [
    '/a',
  ]);
  assert.deepEqual(images('--blockdev=driver=qcow2,file.filename=/a'), ['/a']);
});

test('never guessed: no format, another one, no file of this host', () => {
  assert.deepEqual(images('-drive', 'file=/a.qcow2,if=virtio'), []);
  assert.deepEqual(images('-hda', '/a.qcow2'), []);
  assert.deepEqual(images('-drive', 'file=/a.qcow2,format=raw'), []);
  assert.deepEqual(images('-drive', 'file=nbd:localhost:10809,format=qcow2'), []);
  assert.deepEqual(images('-blockdev', '{"driver":"qcow2","file":"nobody"}'), []);
  assert.deepEqual(images('-blockdev', '{"driver":"qcow2"'), []);
});

test('the tools say the format apart from the image', () => {
  const found = qcow2Images(['qemu-nbd', '-f', 'qcow2', '-p', '10810', '/a.qcow2']);
  assert.ok(found.includes('/a.qcow2'), 'which of its words is the image, what it has open tells');
  assert.deepEqual(qcow2Images(['qemu-nbd', '-f', 'raw', '/a.qcow2']), []);
});

test('property: no command line makes it throw, or go in a circle', () => {
  const node = fc.record({
    driver: fc.constantFrom('qcow2', 'file', 'raw'),
    'node-name': fc.constantFrom('a', 'b', '__proto__'),
    file: fc.constantFrom('a', 'b', '__proto__'),
  });
  const value = fc.oneof(
    fc.string(),
    fc.json(),
    node.map((each) => JSON.stringify(each)),
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(value, fc.constantFrom('-drive', '-blockdev', '-f'))), (argv) => {
      assert.ok(Array.isArray(images(...argv)));
    }),
  );
});
