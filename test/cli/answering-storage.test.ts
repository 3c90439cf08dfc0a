import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endsInTime, requireAnswers } from '../../src/cli/answering-storage.js';

test('a path that is there, or is not, has storage that answers', async () => {
  await requireAnswers(['/', '/no/such/file']);
});

test('who does not answer in time is not waited for', async () => {
  assert.equal(await endsInTime('sleep', ['1000'], 200), false);
  await assert.rejects(
    requireAnswers(['/a', '/b'], (path) => Promise.resolve(path !== '/b')),
    /the storage of \/b does not answer/,
  );
});

test('a program that is not there says nothing against the storage', async () => {
  assert.equal(await endsInTime('/no/such/program', [], 20_000), true);
});
