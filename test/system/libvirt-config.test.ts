import assert from 'node:assert/strict';
import { test } from 'node:test';
import { libvirtNumber, libvirtSetting } from '../../src/system/libvirt-config.js';

test('one setting of libvirt’s files: comments, quotes, spaces', () => {
  const text = '#a = "commented"\n  a="one" # more\nb = \'two\'\nab = "three"\n';
  assert.deepEqual(
    ['a', 'b', 'ab', 'c'].map((key) => libvirtSetting(text, key)),
    ['one', 'two', 'three', undefined],
  );
});

test('a number has no quotes', () => {
  const text = '#a = 1\na = 0\n\tb=12 # more\nc = "3"\n';
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((key) => libvirtNumber(text, key)),
    [0, 12, undefined, undefined],
  );
});
