import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ProtocolError, type ProtocolFault } from '../../src/protocol/protocol-error.js';
import { XdrReader, XdrWriter } from '../../src/protocol/xdr.js';

const bytesMax = 1 << 20;
const written = (write: (writer: XdrWriter) => void): Buffer => {
  const writer = new XdrWriter(bytesMax, 4);
  write(writer);
  return Buffer.from(writer.finish());
};
const reader = (...words: number[]): XdrReader => {
  const bytes = Buffer.alloc(words.length * 4);
  words.forEach((word, n) => bytes.writeUInt32BE(word, n * 4));
  return new XdrReader(bytes);
};
const throwsFault = (fault: ProtocolFault, work: () => unknown): void =>
  assert.throws(work, (error) => error instanceof ProtocolError && error.fault === fault);

/** A value, how it is written, and how it is read again. */
interface Sample {
  readonly value: unknown;
  readonly write: (writer: XdrWriter) => void;
  readonly read: (reader: XdrReader) => unknown;
}
const sample = <Value>(
  values: fc.Arbitrary<Value>,
  write: (writer: XdrWriter, value: Value) => void,
  read: (reader: XdrReader) => unknown,
): fc.Arbitrary<Sample> => values.map((value) => ({ value, write: (writer) => write(writer, value), read }));

const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
const text = fc.string({ unit: 'binary', maxLength: 40 }).filter((value) => !value.includes('\0'));
const samples = fc.array(
  fc.oneof(
    sample(
      fc.integer(),
      (w, v) => w.int(v),
      (r) => r.int(),
    ),
    sample(
      fc.integer({ min: 0, max: 0xffffffff }),
      (w, v) => w.unsigned(v),
      (r) => r.unsigned(),
    ),
    sample(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      (w, v) => w.hyper(v),
      (r) => r.hyper(),
    ),
    sample(
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      (w, v) => w.unsignedHyper(v),
      (r) => r.unsignedHyper(),
    ),
    sample(
      fc.boolean(),
      (w, v) => w.bool(v),
      (r) => r.bool(),
    ),
    sample(
      bytes,
      (w, v) => w.opaque(v, 40),
      (r) => r.opaque(40),
    ),
    sample(
      text,
      (w, v) => w.string(v, 200),
      (r) => r.string(200),
    ),
    sample(
      fc.option(text, { nil: undefined }),
      (w, v) => w.optional(v, (given) => w.string(given, 200)),
      (r) => r.optional(() => r.string(200)),
    ),
    sample(
      fc.array(fc.integer(), { maxLength: 9 }),
      (w, v) => w.array(v, 9, (each) => w.int(each)),
      (r) => r.array(9, 4, () => r.int()),
    ),
  ),
  { maxLength: 12 },
);

test('what was written is read again, and nothing is left', () => {
  fc.assert(
    fc.property(samples, (list) => {
      const encoded = written((writer) => list.forEach(({ write }) => write(writer)));
      assert.equal(encoded.length % 4, 0);
      const again = new XdrReader(encoded);
      assert.deepEqual(
        list.map(({ read }) => read(again)),
        list.map(({ value }) => value),
      );
      assert.equal(again.left, 0);
    }),
  );
});

test('what is cut short is truncated, wherever the cut is', () => {
  fc.assert(
    fc.property(samples, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (list, part) => {
      const encoded = written((writer) => list.forEach(({ write }) => write(writer)));
      if (encoded.length === 0) return;
      const short = new XdrReader(encoded.subarray(0, Math.floor(encoded.length * part)));
      throwsFault('truncated', () => list.forEach(({ read }) => read(short)));
    }),
  );
});

describe('lengths at their edges', () => {
  test('one more than is allowed is refused before it is looked for', () => {
    throwsFault('too long', () => reader(41).opaque(40));
    throwsFault('too long', () => reader(0xffffffff).string(40));
    throwsFault('too long', () => reader(10).array(9, 4, () => 0));
    assert.equal(reader(4, 0).opaque(4).length, 4);
  });

  test('an array that cannot fit is refused before it is made', () => {
    throwsFault('truncated', () => reader(0xffffffff, 0).array(0xffffffff, 4, () => 0));
  });

  test('what is written has the same limits', () => {
    throwsFault('too long', () => written((writer) => writer.opaque(Buffer.alloc(5), 4)));
    throwsFault('too long', () => written((writer) => writer.string('äöü', 5)));
    throwsFault('too long', () => written((writer) => writer.array([1, 2], 1, () => undefined)));
    throwsFault('too long', () => new XdrWriter(7).int(1).int(2));
    assert.equal(new XdrWriter(8).int(1).int(2).finish().length, 8);
  });
});

describe('values that there are not', () => {
  test('numbers out of their range', () => {
    for (const value of [2 ** 31, -(2 ** 31) - 1, 0.5, Number.NaN]) {
      throwsFault('bad value', () => written((writer) => writer.int(value)));
    }
    throwsFault('bad value', () => written((writer) => writer.unsigned(-1)));
    throwsFault('bad value', () => written((writer) => writer.hyper(2n ** 63n)));
    throwsFault('bad value', () => written((writer) => writer.unsignedHyper(-1n)));
    throwsFault('bad value', () => written((writer) => writer.opaqueFixed(Buffer.alloc(3), 4)));
    throwsFault('bad value', () => reader(2).bool());
  });

  test('text that is none, or would name something else', () => {
    throwsFault('bad value', () => reader(4, 0x61006200).string(9));
    throwsFault('bad value', () => reader(4, 0x61ff6262).string(9));
    throwsFault('bad value', () => written((writer) => writer.string('a\0b', 9)));
    throwsFault('bad value', () => written((writer) => writer.string('a\uD800b', 9)));
    assert.equal(reader(3, 0xefbfbd00).string(9), '\uFFFD');
  });
});

test('padding is written as zeros, and read whatever it is', () => {
  assert.deepEqual([...written((writer) => writer.opaque(Buffer.from('abcde'), 9)).subarray(9)], [0, 0, 0]);
  assert.equal(reader(1, 0x61ffffff).string(9), 'a');
});
