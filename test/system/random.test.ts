import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomHex, randomUuid } from '../../src/system/random.js';

test('uuids are of version 4 and never the same', () => {
  const uuids = Array.from({ length: 2_000 }, randomUuid);
  for (const uuid of uuids)
    assert.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(new Set(uuids).size, uuids.length);
});

test('hex names have the length that was asked for, across the edge of the pool', () => {
  const names = Array.from({ length: 500 }, () => randomHex(7));
  assert.ok(names.every((name) => /^[0-9a-f]{14}$/.test(name)));
  assert.equal(new Set(names).size, names.length);
});
