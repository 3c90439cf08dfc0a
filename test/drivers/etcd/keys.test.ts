/** The keys in etcd: what is written is read again, and no identity reaches into another's range. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { clusterIdentity, Keys } from '../../../src/drivers/etcd/keys.js';
import { compatible, modes, type Resource } from '../../../src/vocabulary.js';

const keys = new Keys('site/holdfast');
const identity = fc.oneof(fc.string({ unit: 'grapheme' }), fc.stringMatching(/^[a-z:/%0-9 ]{0,12}$/));
const within = (key: string, { key: from, rangeEnd }: { key: string; rangeEnd: string }): boolean =>
  Buffer.compare(Buffer.from(key), Buffer.from(from)) >= 0 &&
  Buffer.compare(Buffer.from(key), Buffer.from(rangeEnd)) < 0;

test('a key says what it was made of', () => {
  fc.assert(
    fc.property(identity, fc.constantFrom(...modes, 'waiting' as const), (name, mode) => {
      const key = { identity: name, mode, holder: '1a.2' };
      assert.match(keys.lock(key), /^site\/holdfast\/v1\/locks\/[\x21-\x7e]*\/[a-z]+\/1a\.2$/);
      assert.deepEqual(keys.parseLock(keys.lock(key)), key);
    }),
  );
  assert.equal(keys.parseLock('site/holdfast/v1/sessions/1a'), undefined);
  assert.equal(keys.parseLock('site/holdfast/v1/locks/a/b/c/d'), undefined);
});

test('a lock is in the ranges of its own identity, and of no other', () => {
  fc.assert(
    fc.property(identity, identity, fc.constantFrom(...modes), (one, other, mode) => {
      const key = keys.lock({ identity: one, mode, holder: 'h' });
      assert.equal(within(key, keys.all(other)), one === other);
      assert.equal(within(key, keys.held(other)), one === other);
      assert.ok(!within(key, keys.waiting(one)));
      assert.ok(within(key, keys.allLocks()));
    }),
  );
});

test('what is in the way of a mode is what the table of modes says, and who waits', () => {
  for (const asked of modes) {
    for (const waiters of [true, false]) {
      const ranges = keys.inTheWay('disk', asked, waiters);
      const blocks = (mode: (typeof modes)[number] | 'waiting'): boolean =>
        ranges.some((range) => within(keys.lock({ identity: 'disk', mode, holder: 'h' }), range));
      for (const held of modes) assert.equal(blocks(held), !compatible(asked, held), `${asked} ${held}`);
      assert.equal(blocks('waiting'), waiters, asked);
    }
  }
});

test('what one host has carries the host, what all have does not', () => {
  const resource: Resource = { kind: 'disk', identity: 'x', label: 'x', storage: 'name', scope: 'host' };
  assert.equal(clusterIdentity(resource, 'abc'), 'host:abc:x');
  assert.equal(clusterIdentity({ ...resource, scope: 'cluster' }, 'abc'), 'x');
});
