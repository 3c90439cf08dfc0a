import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readBackingName } from '../../src/plan/backing-name.js';

const overlay = '/vm/../images/top.qcow2';
const path = (name: string, format?: string): unknown => {
  const found = readBackingName(name, overlay, format);
  assert.equal(found.kind, 'path', JSON.stringify(found));
  return found.kind === 'path' && found.format !== undefined
    ? [found.path, found.format]
    : found.kind === 'path' && found.path;
};
const elsewhere = (name: string): string => {
  const found = readBackingName(name, overlay, 'raw');
  assert.equal(found.kind, 'elsewhere', JSON.stringify(found));
  return found.kind === 'elsewhere' ? found.why : '';
};

test('relative names start from the folder as written, and no `..` is resolved', () => {
  assert.equal(path('base.img'), '/vm/../images/base.img');
  assert.equal(path('../b/base.img'), '/vm/../images/../b/base.img');
  assert.equal(path('./a:b'), '/vm/../images/./a:b');
  assert.deepEqual(path('/x/base.img', 'raw'), ['/x/base.img', 'raw']);
  assert.equal(readBackingName('b', '/top.qcow2').kind === 'path' && path('/b'), '/b');
});

test('file: and host_device: lead to a path', () => {
  assert.equal(path('file:/x/a.img'), '/x/a.img');
  assert.equal(path('file:///x/a.img'), '/x/a.img');
  assert.equal(path('host_device:/dev/sdb'), '/dev/sdb');
});

test('other protocols cannot be followed', () => {
  for (const name of ['nbd:localhost:10809', 'nbd://h/e', 'rbd:p/i', 'https://h/x', 'fat:/x', 'a:b', ':x']) {
    assert.match(elsewhere(name), /not as a file/);
  }
});

test('json: names', () => {
  assert.deepEqual(path('json:{"driver":"qcow2","file":{"driver":"file","filename":"/x"}}'), ['/x', 'qcow2']);
  assert.deepEqual(
    path('json:{"driver":"raw","file.driver":"host_device","file.filename":"/dev/x"}', 'qcow2'),
    ['/dev/x', 'raw'],
  );
  assert.deepEqual(path('json:{"file.filename":"/x"}', 'raw'), ['/x', 'raw']);
  assert.equal(path('json:{"driver":"file","filename":"/x"}'), '/x');
  assert.deepEqual(
    path('json:{"driver":"throttle","file":{"driver":"qcow2","file":{"driver":"file","filename":"/x"}}}'),
    ['/x', 'qcow2'],
  );
  // The outermost format is what the overlay sees; what it stands on is its own business.
  assert.deepEqual(
    path('json:{"driver":"qcow2","file":{"driver":"raw","file":{"driver":"file","filename":"/x"}}}', 'vmdk'),
    ['/x', 'qcow2'],
  );
  assert.match(
    elsewhere('json:{"driver":"nbd","server":{"type":"inet","host":"h"}}'),
    /no file of this host/,
  );
  assert.match(elsewhere('json:{"driver":"raw","file":{"driver":"https","filename":"/x"}}'), /no file/);
  assert.match(elsewhere('json:{"driver"'), /not the JSON/);
  assert.match(elsewhere('json:[1]'), /no file/);
  assert.match(elsewhere('json:{"__proto__":{"filename":"x"}}'), /no file/);
  assert.match(elsewhere(`json:${'{"file":'.repeat(9)}{"filename":"/x"}${'}'.repeat(9)}`), /no file/);
});

test('file: and json: names that are relative start where QEMU is started, which is taken to be here', () => {
  for (const name of [
    'file:x/a',
    'json:{"driver":"file","filename":"x/a"}',
    'json:{"file.filename":"x/a"}',
  ]) {
    const found = readBackingName(name, overlay, 'raw');
    const wanted = { kind: 'path', path: `${process.cwd()}/x/a`, format: 'raw', fromHere: true };
    assert.deepEqual(found, wanted);
  }
  for (const name of ['a', 'file:/a', 'json:{"file.filename":"/a"}']) {
    assert.equal('fromHere' in readBackingName(name, overlay), false);
  }
  assert.match(elsewhere('file:'), /no name/);
});

test('what JSON says is below is not followed, and that is said', () => {
  const found = readBackingName(
    'json:{"driver":"qcow2","backing":null,"file":{"driver":"file","filename":"/x"}}',
    overlay,
  );
  assert.equal(found.kind === 'path' && found.note, undefined);
  const other = readBackingName(
    'json:{"driver":"qcow2","backing":"n","file":{"driver":"file","filename":"/x"}}',
    overlay,
  );
  assert.match((other.kind === 'path' && other.note) || '', /not followed/);
});

test('bytes that are no UTF-8 lead nowhere; control characters never reach a terminal', () => {
  assert.match(elsewhere(Buffer.from([0x61, 0xff]).toString()), /not UTF-8/);
  const found = readBackingName('nbd:\u{1b}[2J', overlay);
  assert.equal(found.kind === 'elsewhere' && found.name, 'nbd:\\u{1b}[2J');
});

test('any name gives an answer', () => {
  const names = fc.oneof(
    fc.string(),
    fc.json().map((json) => `json:${json}`),
    fc
      .dictionary(
        fc.constantFrom('file', 'file.filename', 'driver', 'filename', '__proto__', 'file.driver'),
        fc.jsonValue(),
      )
      .map((value) => `json:${JSON.stringify(value)}`),
  );
  fc.assert(
    fc.property(names, (name) => {
      const found = readBackingName(name, overlay);
      assert.ok(found.kind === 'elsewhere' || found.path.startsWith('/'));
    }),
    { numRuns: 2000 },
  );
});
