import assert from 'node:assert/strict';
import { test } from 'node:test';
import { takeLaunchState } from '../../src/system/launch-state.js';

test('what the launcher saw is read, and taken out of the environment', () => {
  const environment = { HOLDFAST_LAUNCH: '777:4097:12,3,', OTHER: 'stays' };
  assert.deepEqual(takeLaunchState(environment), {
    openFilesSoft: 777,
    ignoredSignals: 4097n,
    descriptors: [3, 12],
  });
  assert.deepEqual(environment, { OTHER: 'stays' });
});

test('no limit, nothing ignored, nothing opened', () => {
  assert.deepEqual(takeLaunchState({ HOLDFAST_LAUNCH: 'unlimited:0:' }), {
    openFilesSoft: undefined,
    ignoredSignals: 0n,
    descriptors: [],
  });
});

test('without the launcher, or with something else in the variable, nothing is known', () => {
  for (const text of [undefined, '', '1', '1:2', 'x:0:', '1:-1:', '1:0:3', '1:0:,', '1:0:3,;']) {
    assert.equal(takeLaunchState(text === undefined ? {} : { HOLDFAST_LAUNCH: text }), undefined, text);
  }
});
