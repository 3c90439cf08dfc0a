import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isHoldfastError } from '../../src/errors.js';
import {
  backingNameBytesMax,
  extensionsMax,
  parseQcow2Header,
  type ReadAt,
} from '../../src/plan/qcow2-header.js';
import { backingFormat, craftQcow2, dataFile, type Crafted } from './qcow2-image.js';

const from =
  (image: Buffer): ReadAt =>
  (offset, length) =>
    image.subarray(offset, offset + length);
const parse = (crafted: Crafted): unknown => parseQcow2Header(from(craftQcow2(crafted)), 'x');
const damaged = (crafted: Crafted, why: RegExp): void =>
  assert.throws(
    () => parse(crafted),
    (error) => isHoldfastError(error, 'BAD_DATA') && why.test(error.message),
  );
const named = { type: backingFormat, data: Buffer.from('raw') };

test('reads a backing name and its format, in both versions', () => {
  for (const version of [2, 3]) {
    assert.deepEqual(parse({ version, name: '/base.img', extensions: [named] }), {
      version,
      backing: { name: '/base.img', format: 'raw' },
    });
    assert.deepEqual(parse({ version, name: '/base.img' }), { version, backing: { name: '/base.img' } });
    assert.deepEqual(parse({ version }), { version });
  }
});

test('passes over extensions that it does not know, and stops at the end mark', () => {
  const unknown = { type: 0x6803f857, data: Buffer.alloc(147, 1) };
  const end = { type: 0, data: Buffer.alloc(0) };
  assert.deepEqual(parse({ name: 'b', extensions: [unknown, named] }), {
    version: 3,
    backing: { name: 'b', format: 'raw' },
  });
  assert.deepEqual(parse({ name: 'b', extensions: [end, named] }), { version: 3, backing: { name: 'b' } });
});

test('an external data file counts only with its bit', () => {
  const extensions = [{ type: dataFile, data: Buffer.from('/data.raw') }];
  assert.deepEqual(parse({ extensions, incompatible: 4n }), { version: 3, dataFile: { name: '/data.raw' } });
  assert.deepEqual(parse({ extensions }), { version: 3 });
  assert.deepEqual(parse({ incompatible: 4n }), { version: 3, dataFile: {} });
});

test('a name ends at its first NUL, as it does for QEMU', () => {
  assert.deepEqual(parse({ name: '/a\0/b' }), { version: 3, backing: { name: '/a' } });
});

test('what does not begin as qcow2 is not read', () => {
  assert.equal(parseQcow2Header(from(Buffer.alloc(0)), 'x'), undefined);
  assert.equal(parseQcow2Header(from(Buffer.from('QFI')), 'x'), undefined);
  assert.equal(parseQcow2Header(from(Buffer.alloc(512)), 'x'), undefined);
});

test('a damaged header is refused', () => {
  damaged({ bytes: 71 }, /ends within/);
  damaged({ bytes: 103 }, /ends within/);
  damaged({ version: 4 }, /version is 4/);
  damaged({ clusterBits: 8 }, /2\^8/);
  damaged({ clusterBits: 22 }, /2\^22/);
  damaged({ clusterBits: 0xffffffff }, /2\^4294967295/);
  damaged({ headerBytes: 103 }, /103 bytes/);
  damaged({ headerBytes: 65537 }, /65537 bytes/);
  damaged({ nameOffset: 2n ** 63n, nameBytes: 8 }, /first cluster/);
  damaged({ nameOffset: 2n ** 64n - 1n, nameBytes: 8 }, /first cluster/);
  damaged({ nameOffset: 65535n, nameBytes: 2 }, /first cluster/);
  damaged({ nameOffset: 80n, nameBytes: 2 }, /overlaps/);
  damaged({ name: 'b', bytes: 112 }, /ends within the backing name/);
  damaged({ extensions: [{ ...named, length: 0xfffffff8 }] }, /beyond/);
  damaged({ extensions: [{ ...named, length: 16 }] }, /format's name has 16 bytes/);
  damaged({ name: 'b', extensions: [{ ...named, length: 200 }] }, /beyond/);
  damaged({ extensions: [{ type: dataFile, data: Buffer.alloc(4096, 0x61) }] }, /4096 bytes/);
});

test('the longest backing name is 1023 bytes', () => {
  const name = 'n'.repeat(backingNameBytesMax);
  assert.deepEqual(parse({ name }), { version: 3, backing: { name } });
  damaged({ name: `${name}n` }, /1024 bytes/);
});

test('the number of extensions is bounded', () => {
  const some = (count: number): Crafted => ({
    extensions: Array.from({ length: count }, () => ({ type: 1, data: Buffer.alloc(0) })),
  });
  assert.deepEqual(parse(some(extensionsMax)), { version: 3 });
  damaged(some(extensionsMax + 1), /more than 256/);
});

test('whatever the bytes: an answer or BAD_DATA, from the first cluster only', () => {
  const field = fc.constantFrom(4, 8, 12, 16, 20, 72, 76, 100, 104, 108, 112, 116, 120);
  const change = fc.tuple(
    field,
    fc.oneof(
      fc.constantFrom(
        0,
        1,
        2,
        3,
        4,
        9,
        16,
        21,
        72,
        104,
        512,
        1023,
        1024,
        0xffffffff,
        backingFormat,
        dataFile,
      ),
      fc.nat(0xffffffff),
    ),
  );
  fc.assert(
    fc.property(
      fc.array(change, { maxLength: 8 }),
      fc.option(fc.nat(400), { nil: undefined }),
      fc.uint8Array({ maxLength: 400 }),
      (changes, bytes, tail) => {
        const image = Buffer.from(craftQcow2({ name: '/base', extensions: [named], incompatible: 4n }));
        image.set(tail, 104);
        for (const [offset, value] of changes) image.writeUInt32BE(value, offset);
        const cut = image.subarray(0, bytes ?? image.length);
        let total = 0;
        const readAt: ReadAt = (offset, length) => {
          assert.ok(length <= 4095 && offset >= 0 && offset + length <= 2 ** 21, `read ${offset}+${length}`);
          total += length;
          return cut.subarray(offset, offset + length);
        };
        try {
          parseQcow2Header(readAt, 'x');
        } catch (error) {
          assert.ok(isHoldfastError(error, 'BAD_DATA'), String(error));
        }
        assert.ok(total <= 2 ** 21 + 104);
      },
    ),
    { numRuns: 5000 },
  );
});
