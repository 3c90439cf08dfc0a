import assert from 'node:assert/strict';
import test from 'node:test';
import type { Driver, DriverFactory } from '../../src/driver/contract.js';
import { lazyDriver } from '../../src/driver/started-driver.js';
import memory from '../../src/drivers/memory/memory.js';
import { HoldfastError, isHoldfastError } from '../../src/errors.js';
import { namedResource, owner, request, signal } from './named-resource.js';

function factoryOf(start: DriverFactory['start']): DriverFactory {
  return { about: memory.about, start };
}

test('concurrent first use starts a driver once', async () => {
  let starts = 0;
  const lazy = lazyDriver(
    factoryOf(async (settings) => {
      starts++;
      await new Promise((resolve) => setImmediate(resolve));
      return memory.start(settings);
    }),
  );
  const drivers = await Promise.all([lazy.get(), lazy.get(), lazy.get()]);
  assert.equal(starts, 1);
  assert.equal(new Set(drivers).size, 1);
  assert.equal(await lazy.get(), drivers[0]);
});

test('a failed start fails all who wait for it, and the next use tries again', async () => {
  let starts = 0;
  const lazy = lazyDriver(
    factoryOf(async (settings) => {
      if (++starts === 1) throw new Error('no engine');
      return memory.start(settings);
    }),
  );
  const both = await Promise.allSettled([lazy.get(), lazy.get()]);
  for (const outcome of both) {
    assert.equal(outcome.status, 'rejected');
    assert.ok(isHoldfastError(outcome.reason, 'DRIVER_FAILED'));
    assert.match(outcome.reason.message, /driver memory could not be started: no engine/);
  }
  await lazy.get();
  assert.equal(starts, 2);
});

test('the settings reach the start', async () => {
  let seen: unknown;
  await lazyDriver(
    factoryOf((settings) => {
      seen = settings;
      return memory.start({});
    }),
    { space: 'x' },
  ).get();
  assert.deepEqual(seen, { space: 'x' });
});

test('a driver without one of the three functions is refused, saying which', async () => {
  const whole = await memory.start({});
  for (const name of ['acquire', 'release', 'holders'] as const) {
    const lazy = lazyDriver(factoryOf(() => ({ ...whole, [name]: undefined })));
    const message = new RegExp(`driver memory: it has no function \`${name}\``);
    await assert.rejects(lazy.get(), { code: 'DRIVER_BROKEN', message });
  }
  const nothing = lazyDriver(factoryOf(() => undefined as unknown as Driver));
  await assert.rejects(nothing.get(), { message: /`acquire`, `release`, `holders`/ });
  const strange = lazyDriver(factoryOf(() => ({ ...whole, offer: true }) as unknown as Driver));
  await assert.rejects(strange.get(), { message: /`offer` is there but is no function/ });
});

test('it ends once, after a start that was under way, and starts no more', async () => {
  let ends = 0;
  const lazy = lazyDriver(
    factoryOf(async () => ({ ...(await memory.start({})), end: async () => void ends++ })),
  );
  const getting = lazy.get();
  await Promise.all([lazy.end(), lazy.end()]);
  await getting;
  assert.equal(ends, 1);
  await assert.rejects(lazy.get(), { code: 'ENDED' });
});

test('a driver that was never used, or never started, ends as well', async () => {
  await lazyDriver(memory).end();
  const failing = lazyDriver(factoryOf(() => Promise.reject(new Error('no'))));
  await assert.rejects(failing.get());
  await failing.end();
});

test('errors of drivers become errors of the one class', async () => {
  const own = new HoldfastError('NOT_PERMITTED', 'own');
  const thrown = new Map<unknown, string>([
    [own, 'NOT_PERMITTED'],
    [
      Object.assign(new Error('taken'), { code: 'IN_USE', resource: '/a', holders: [{ guest: 'web' }] }),
      'IN_USE',
    ],
    [Object.assign(new Error('no such file'), { code: 'ENOENT' }), 'DRIVER_FAILED'],
    [Object.assign(new Error('stop'), { name: 'AbortError', code: 'ABORT_ERR' }), 'ABORTED'],
    ['a string', 'DRIVER_FAILED'],
    [undefined, 'DRIVER_FAILED'],
  ]);
  for (const [value, code] of thrown) {
    const whole = await memory.start({});
    const fail = (): never => {
      throw value;
    };
    const driver = await lazyDriver(factoryOf(() => ({ ...whole, acquire: fail, mapRequest: fail }))).get();
    for (const call of [
      () => driver.acquire(owner('one'), [], { signal }),
      async () => driver.mapRequest?.(request('a')),
    ]) {
      await assert.rejects(call, (error: HoldfastError) => {
        assert.equal(error.code, code);
        if (code === 'IN_USE') assert.deepEqual([error.resource, error.holders], ['/a', [{ guest: 'web' }]]);
        if (value === own) assert.equal(error, own);
        return true;
      });
    }
  }
});

test('a grant of another shape is a broken driver', async () => {
  const good = { requests: [], descriptors: [], tokens: {} };
  const bad: unknown[] = [
    undefined,
    {},
    { ...good, requests: 1 },
    { ...good, descriptors: [-1] },
    { ...good, tokens: 'x' },
  ];
  for (const grant of bad) {
    const whole = await memory.start({});
    const lazy = lazyDriver(factoryOf(() => ({ ...whole, acquire: async () => grant as never })));
    const driver = await lazy.get();
    await assert.rejects(driver.acquire(owner('one'), [], { signal }), { code: 'DRIVER_BROKEN' });
  }
});

test('a driver may be a class, and only what it has is there', async () => {
  class Engine {
    #held = 0;
    async acquire(): Promise<{ requests: []; descriptors: []; tokens: Record<string, string> }> {
      this.#held++;
      return { requests: [], descriptors: [], tokens: {} };
    }
    async release(): Promise<void> {}
    async holders(): Promise<[]> {
      assert.equal(this.#held, 1);
      return [];
    }
  }
  const driver = await lazyDriver(factoryOf(() => new Engine())).get();
  await driver.acquire(owner('one'), [], { signal });
  await driver.holders(namedResource('a'));
  assert.ok(!('offer' in driver));
});
