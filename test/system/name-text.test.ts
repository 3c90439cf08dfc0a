import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { nameText } from '../../src/system/name-text.js';

test('what is UTF-8 stays as it is, each byte that is none is shown', () => {
  const cases: [bytes: number[], text: string][] = [
    [[], ''],
    [[0x61, 0xff], 'a\\xff'],
    // Cut off within a character, and one encoded in too many bytes.
    [[0xc3], '\\xc3'],
    [[0xe2, 0x82, 0x61], '\\xe2\\x82a'],
    [[0xc0, 0xaf], '\\xc0\\xaf'],
    // A surrogate is no character.
    [[0xed, 0xa0, 0x80, 0xc3, 0xbc], '\\xed\\xa0\\x80\u00fc'],
    [[0xef, 0xbf, 0xbd, 0xff], '\ufffd\\xff'],
  ];
  for (const [bytes, text] of cases) assert.equal(nameText(Buffer.from(bytes)), text);
});

test('property: names without a backslash have one text each', () => {
  const bytes = fc
    .uint8Array({ maxLength: 12 })
    .map((array) => Buffer.from(array.map((byte) => (byte === 0x5c ? 0xff : byte))));
  fc.assert(
    fc.property(bytes, (name) => {
      const text = nameText(name);
      const back = text
        .split(/\\x([0-9a-f]{2})/)
        .map((part, index) => Buffer.from(part, index % 2 === 1 ? 'hex' : 'utf8'));
      assert.deepEqual(Buffer.concat(back), name);
    }),
  );
});
