/** Waiting names the holders, which reads all of /proc, only for somebody who will see it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError, isHoldfastError } from '../../src/errors.js';
import { waitFor } from '../../src/manager/wait-for.js';
import type { LockOptions } from '../../src/manager/lock-options.js';

/** Waits a good second, in which the holders could be named twice and the last time, and counts how often they were. */
async function waited(options: LockOptions): Promise<{ explained: number; asked: number }> {
  let explained = 0;
  let asked = 0;
  const attempt = (explain: boolean): Promise<never> => {
    asked++;
    if (explain) explained++;
    return Promise.reject(new HoldfastError('IN_USE', 'it is in use'));
  };
  const never = (): Promise<void> => new Promise(() => undefined);
  const wait = waitFor(attempt, { wait: 1_300, ...options }, never, new AbortController().signal);
  await assert.rejects(wait, (error) => isHoldfastError(error, 'TIMEOUT'));
  return { explained, asked };
}

test('nobody is told: the holders are looked for once, for the refusal', async () => {
  const { explained, asked } = await waited({});
  assert.equal(explained, 1);
  assert.ok(asked > 2);
});

test('told once is enough: the first, and the refusal', async () => {
  let told = 0;
  const { explained } = await waited({
    onWait: () => {
      told++;
      return false;
    },
  });
  assert.deepEqual([told, explained], [1, 2]);
});

test('told again and again', async () => {
  let told = 0;
  // A pause has up to 750 ms: in so long, one of the tries lies between the first second and the end.
  const { explained } = await waited({ wait: 2_300, onWait: () => void told++ });
  assert.ok(told >= 2, String(told));
  assert.equal(explained, told + 1);
});
