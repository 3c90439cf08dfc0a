/** Protocol buffers: what is written is read again, and nothing that is read harms. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  rangeRequest,
  txnRequest,
  txnResponse,
  watchResponse,
} from '../../../../src/drivers/etcd/client/messages.js';
import { MessageType } from '../../../../src/drivers/etcd/client/wire.js';

test('a request is written as the encoding says', () => {
  // Each field: its number and wire type in one byte, then what it has; 300 takes two bytes.
  const bytes = rangeRequest.encode({ key: 'k', rangeEnd: 'l', limit: 300, serializable: true });
  assert.equal(bytes.toString('hex'), '0a016b12016c18ac023801');
});

test('a field with a number above 15 has a tag of two bytes, and a zero that is given is written', () => {
  const bytes = txnRequest.encode({
    compare: [{ result: 0, target: 0, key: 'a', version: 0, rangeEnd: 'b' }],
    success: [],
    failure: [],
  });
  assert.equal(bytes.toString('hex'), '0a0d080010001a0161200082040162');
});

interface Sample {
  readonly inside?: { readonly text: string };
  readonly bytes: Buffer;
  readonly text: string;
  readonly flag: boolean;
  readonly number: number;
  readonly id: bigint;
  readonly list: readonly { readonly id: bigint }[];
}
const inner = new MessageType<{ readonly id: bigint }>({ id: { number: 1, kind: 'id' } });
const texts = new MessageType<{ readonly text: string }>({ text: { number: 1, kind: 'string' } });
const sample = new MessageType<Sample>({
  inside: { number: 9, kind: texts },
  bytes: { number: 1, kind: 'bytes' },
  text: { number: 2, kind: 'string' },
  flag: { number: 3, kind: 'bool' },
  number: { number: 4, kind: 'number' },
  id: { number: 100, kind: 'id' },
  list: { number: 7, kind: inner, repeated: true },
});

test('what is written is read again', () => {
  const id = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  fc.assert(
    fc.property(
      fc.record({
        bytes: fc.uint8Array({ maxLength: 40_000 }).map((all) => Buffer.from(all)),
        text: fc.string({ unit: 'grapheme' }),
        flag: fc.boolean(),
        number: fc.maxSafeNat(),
        id,
        inside: fc.nat(70_000).map((length) => ({ text: 'x'.repeat(length) })),
        list: fc.array(fc.record({ id }, { noNullPrototype: true }), { maxLength: 5 }),
      }),
      (message) => {
        assert.deepEqual(sample.decode(sample.encode(message)), { ...message });
      },
    ),
  );
});

test('a negative number, as etcd has for a lease that is gone, is read', () => {
  assert.equal(sample.decode(Buffer.from('20ffffffffffffffffff01', 'hex')).number, -1);
});

test('any bytes are read, or refused with a RangeError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const type of [txnResponse, watchResponse, sample]) {
        try {
          type.decode(Buffer.from(bytes));
        } catch (error) {
          assert.ok(error instanceof RangeError, String(error));
        }
      }
    }),
    { numRuns: 2_000 },
  );
});
