/** The record that a holder leaves for other hosts: bounded, and nothing in one is believed for its form. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatRecord,
  parseRecord,
  recordBytesMax,
  type HolderRecord,
} from '../../../src/drivers/fcntl/holder-record.js';
import { printable } from '../../../src/printable.js';

const record: HolderRecord = {
  version: 1,
  host: 'node-b.example',
  hostId: 'b'.repeat(32),
  bootId: '11111111-2222-4333-8444-555555555555',
  kind: 'domain',
  name: 'web1',
  uuid: '6c1f2a30-1111-4222-8333-444455556666',
  pid: 5783,
  startTime: 123_456,
  mode: 'exclusive',
  since: '2026-02-03T04:05:06Z',
  path: '/images/web1.qcow2',
};

const parsed = (value: unknown): HolderRecord | undefined => parseRecord(Buffer.from(JSON.stringify(value)));

test('what was written is read again', () => {
  assert.deepEqual(parseRecord(formatRecord(record)), record);
  assert.deepEqual(parsed({ ...record, later: 'a field that is not known yet' }), record);
});

const text = fc.string({ unit: 'binary', maxLength: 2000 });

test('whatever the names are, a record keeps to its size and can be read', () => {
  fc.assert(
    fc.property(text, text, text, fc.constantFrom('domain', 'command'), (host, name, path, kind) => {
      const long = {
        ...record,
        kind,
        host: `h${host}`,
        name,
        path: `/${path}`,
        pid: 4_194_304,
        startTime: 2 ** 53 - 1,
      };
      const bytes = formatRecord(long);
      assert.ok(bytes.length <= recordBytesMax, `${bytes.length} bytes`);
      const again = parseRecord(bytes);
      assert.ok(again !== undefined, bytes.toString());
      // A cut path leads nowhere: all of it or none.
      assert.ok(again.path === undefined || again.path === printable(Buffer.from(long.path).toString()));
    }),
  );
});

test('a long name is cut and still tells whose it is', () => {
  const { name } = parseRecord(formatRecord({ ...record, name: 'guest '.repeat(100) })) ?? record;
  assert.match(name, /^guest guest .*\.\.\.$/);
});

test('a record with one field wrong is none', () => {
  const wrong: Readonly<Record<keyof Omit<HolderRecord, 'path'>, readonly unknown[]>> = {
    version: [0, 2, '1', undefined],
    host: ['', 'this host', 'a\nb', '\u001b[2J', 7, 'h'.repeat(81), undefined],
    hostId: ['', 'B'.repeat(32), 'b'.repeat(33), null],
    bootId: ['x', '1'.repeat(36), 1],
    kind: ['guest', 1, undefined],
    name: ['', 'n'.repeat(201), {}, undefined],
    uuid: ['', 'web1', 5, undefined],
    pid: [-1, 1.5, '5783', 2 ** 53, undefined],
    startTime: [-1, Infinity, undefined],
    mode: ['write', 'toString', undefined],
    since: ['yesterday', '2026-13-03T04:05:06Z', '2026-02-03T04:05:06Z\n', 0, undefined],
  };
  for (const [field, values] of Object.entries(wrong))
    for (const value of values)
      assert.equal(parsed({ ...record, [field]: value }), undefined, `${field}: ${JSON.stringify(value)}`);
});

test('a path that is none is left out', () => {
  for (const path of ['relative', '', 5, `/${'x'.repeat(400)}`])
    assert.equal('path' in (parsed({ ...record, path }) ?? { path }), false);
});

test('anything at all: no record, or one that is fit to be shown', () => {
  const check = (bytes: Buffer): void => {
    const found = parseRecord(bytes);
    if (found === undefined) return;
    for (const value of [found.name, found.host, found.path ?? '']) assert.equal(printable(value), value);
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 1100 }), (bytes) => check(Buffer.from(bytes))));
  fc.assert(fc.property(fc.json(), (json) => check(Buffer.from(json))));
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(record)), fc.jsonValue(), (key, value) =>
      check(Buffer.from(JSON.stringify({ ...record, [key]: value }))),
    ),
  );
  fc.assert(
    fc.property(text, (name) => check(Buffer.from(JSON.stringify({ ...record, name, path: `/${name}` })))),
  );
});
