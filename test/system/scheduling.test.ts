import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beBatch } from '../../src/system/scheduling.js';
import { policyOf } from '../beds/policy-of.js';

test('as a batch process, and an ordinary one again', () => {
  assert.equal(policyOf(process.pid), 'other');
  beBatch(false);
  assert.equal(policyOf(process.pid), 'other');
  beBatch(true);
  assert.equal(policyOf(process.pid), 'batch');
  beBatch(true);
  beBatch(false);
  assert.equal(policyOf(process.pid), 'other');
});
