/** Waiting names the holders, which reads all of /proc, only for somebody who will see it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
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

describe('an engine that does not answer for a moment', () => {
  const refusal = new HoldfastError('IN_USE', 'it is in use');
  const silence = new HoldfastError('CLUSTER_NO_QUORUM', 'there is no leader');
  const never = (): Promise<void> => new Promise(() => undefined);

  /** Each answer in turn, and the last of them from then on. */
  async function answers(
    errors: readonly (HoldfastError | undefined)[],
    worthAsking: () => Promise<void> = never,
  ): Promise<number> {
    let asked = 0;
    const attempt = async (): Promise<number> => {
      const error = errors[Math.min(asked++, errors.length - 1)];
      if (error !== undefined) throw error;
      return asked;
    };
    return waitFor(attempt, { wait: 500 }, worthAsking, new AbortController().signal);
  }

  test('whoever was refused before goes on waiting', async () => {
    assert.equal(await answers([refusal, silence, silence, undefined]), 4);
  });

  test('also where it is the driver that waits', async () => {
    assert.equal(await answers([refusal, undefined], () => Promise.reject(silence)), 2);
    await assert.rejects(
      answers([refusal, undefined], () => Promise.reject(new HoldfastError('CLUSTER_AUTH', 'not you'))),
      (error) => isHoldfastError(error, 'CLUSTER_AUTH'),
    );
  });

  test('when the wait is over, that is the error', async () => {
    await assert.rejects(answers([refusal, silence]), silence);
  });

  test('whoever was never refused is told at once: the settings may be wrong', async () => {
    await assert.rejects(answers([silence, undefined]), silence);
  });
});

test('what drivers watch is not asked for again until they say so', async () => {
  let asked = 0;
  const attempt = (): Promise<number> => {
    asked += 1;
    return asked < 3 ? Promise.reject(new HoldfastError('IN_USE', 'it is in use')) : Promise.resolve(asked);
  };
  let woken = 0;
  const worthAsking = async (_: AbortSignal, watch: { isComplete: boolean }): Promise<void> => {
    watch.isComplete = true;
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    woken += 1;
  };
  assert.equal(await waitFor(attempt, { wait: true }, worthAsking, new AbortController().signal), 3);
  assert.equal(woken, 2, 'asked only after each time that the driver had said so');
});

test('a driver that no longer watches is not waited for', async () => {
  let asked = 0;
  const attempt = (): Promise<number> => {
    asked += 1;
    return asked < 2 ? Promise.reject(new HoldfastError('IN_USE', 'it is in use')) : Promise.resolve(asked);
  };
  const fails = (_: AbortSignal, watch: { isComplete: boolean }): Promise<void> => {
    watch.isComplete = true;
    setTimeout(() => (watch.isComplete = false), 100);
    return new Promise(() => undefined);
  };
  assert.equal(await waitFor(attempt, { wait: 5_000 }, fails, new AbortController().signal), 2);
});

test('a driver that always says at once that it is worth asking is asked as seldom as one that says nothing', async () => {
  const at: number[] = [];
  const attempt = (): Promise<number> => {
    at.push(performance.now());
    return at.length < 12
      ? Promise.reject(new HoldfastError('IN_USE', 'somebody writes without a lock'))
      : Promise.resolve(at.length);
  };
  const atOnce = (): Promise<void> => Promise.resolve();
  await waitFor(attempt, { wait: true }, atOnce, new AbortController().signal);
  const pauses = at.slice(1).map((ms, index) => ms - (at[index] ?? 0));
  // The pauses grow from 20 ms by a half each, and are shortened by a half at most.
  assert.ok(Math.min(...pauses.slice(-4)) > 100, pauses.map(Math.round).join(' '));
});

test('however long it waits, nothing gathers on the signal of who asked', async () => {
  const warnings: Error[] = [];
  const hear = (warning: Error): void => void warnings.push(warning);
  process.on('warning', hear);
  const watched = (_: AbortSignal, watch: { isComplete: boolean }): Promise<void> => {
    watch.isComplete = true;
    return new Promise(() => undefined);
  };
  const refuse = (): Promise<never> => Promise.reject(new HoldfastError('IN_USE', 'it is in use'));
  const wait = waitFor(refuse, { wait: 1_500 }, watched, new AbortController().signal);
  await assert.rejects(wait, (error) => isHoldfastError(error, 'TIMEOUT'));
  process.off('warning', hear);
  assert.deepEqual(warnings, []);
});
