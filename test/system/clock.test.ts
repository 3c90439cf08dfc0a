import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isoTime } from '../../src/system/clock.js';

test('a time is written as the language writes it', () => {
  const date = fc.date({ min: new Date('1000-01-01'), max: new Date('9999-12-31'), noInvalidDate: true });
  fc.assert(fc.property(date, (one) => assert.equal(isoTime(one), one.toISOString())));
  for (const one of ['2024-02-29T23:59:59.999Z', '1999-12-31T00:00:00.001Z']) {
    assert.equal(isoTime(new Date(one)), one);
  }
});
