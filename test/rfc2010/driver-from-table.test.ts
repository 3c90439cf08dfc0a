import assert from 'node:assert/strict';
import test from 'node:test';
import { driverConformance, runWithNodeTest } from '../../src/driver/conformance.js';
import { lazyDriver } from '../../src/driver/started-driver.js';
import { isHoldfastError } from '../../src/errors.js';
import { driverFromTable } from '../../src/rfc2010/rfc2010.js';
import type { LockManagerTable } from '../../src/rfc2010/rfc2010.js';
import type { Resource } from '../../src/vocabulary.js';
import { namedResource, owner, request, signal } from '../driver/named-resource.js';
import { inMemoryTable } from './in-memory-table.js';
import type { Guest } from './in-memory-table.js';

const nameOf = ({ label }: Resource): string => label;
/** What a table is told has to be the same for the same storage. */
const byIdentity = ({ identity }: Resource): string => identity;

runWithNodeTest(
  test,
  await driverConformance({
    factory: driverFromTable(inMemoryTable(), { name: 'of-2010', nameOf: byIdentity }),
    makeResource: namedResource,
    skip: {
      'holders sees who holds, from either side': 'a table of 2010 cannot be asked who holds',
      'holders names the owner, with uuid and pid': 'a table of 2010 cannot be asked who holds',
    },
  }),
);

test('a guest is started with the calls of the proposal, in its order', async () => {
  const table = inMemoryTable();
  const driver = await lazyDriver(driverFromTable(table, { name: 'of-2010', nameOf })).get();
  const guest = { ...owner('web1'), id: 2 };
  const grant = await driver.acquire(guest, [request('a'), request('b', 'read'), request('c', 'shared')], {
    signal,
  });
  assert.deepEqual([...(await driver.holders(namedResource('a')))].length, 1);
  await driver.release(grant);
  await driver.end?.();
  assert.deepEqual(table.calls, [
    'load 1 5',
    'new 0 0',
    'set id',
    'set uuid',
    'set name',
    'acquire 0 /images/a.img 0',
    'acquire 0 /images/b.img 1',
    'acquire 0 /images/c.img 2',
    'startup',
    'shutdown',
    'unload',
  ]);
});

test('callbacks may be asynchronous, throw, give false, and keep their `this`', async () => {
  class Table {
    readonly version = 1;
    readonly flags = 1;
    freed = 0;
    async load_drv(): Promise<void> {}
    async unload_drv(): Promise<void> {}
    async new_drv(): Promise<object> {
      return {};
    }
    async set_parameter_drv(): Promise<boolean> {
      return true;
    }
    async acquire_resource(_handle: object, _type: number, name: string): Promise<boolean> {
      if (name.includes('broken')) throw new Error('no space left');
      return !name.includes('taken');
    }
    async startup_drv(): Promise<void> {}
    async shutdown_drv(): Promise<void> {}
    async free_drv(): Promise<void> {
      this.freed++;
    }
  }
  const table = new Table();
  const driver = await lazyDriver(driverFromTable(table, { name: 'of-2010', nameOf })).get();
  await driver.release(await driver.acquire(owner('web1'), [request('a')], { signal }));
  assert.equal(table.freed, 1);
  await assert.rejects(driver.acquire(owner('web1'), [request('a'), request('taken')], { signal }), {
    code: 'IN_USE',
    resource: '/images/taken.img',
  });
  await assert.rejects(driver.acquire(owner('web1'), [request('broken')], { signal }), {
    code: 'DRIVER_FAILED',
    message: /no space left/,
  });
  assert.equal(table.freed, 3);
  assert.ok(!('extend' in driver) && !('adopt' in driver));
});

const faults: Record<string, [change: Partial<LockManagerTable<Guest>>, message: RegExp, remedy: RegExp]> = {
  'is of version 0': [{ version: 0 }, /version 0, and 1 is needed/, /newer version of the driver/],
  'has no version': [{ version: undefined as never }, /version undefined/, /set `version` to 1/],
  'lacks startup_drv': [{ startup_drv: undefined as never }, /no startup_drv$/, /docs\/from-the-rfc\.md/],
  'lacks two callbacks': [
    { new_drv: undefined as never, shutdown_drv: undefined as never },
    /no new_drv, shutdown_drv$/,
    /add what is missing/,
  ],
  'locks no disks': [{ flags: 4 }, /lack RESOURCES/, /Set bit 0/],
  'has HOTPLUG at the bit of the proposal': [
    { flags: 3 },
    /say MIGRATE, but the table has no prepare_migrate_drv/,
    /the proposal had RESOURCES and MIGRATE both at 0/,
  ],
  'promises HOTPLUG without release_resource': [
    { release_resource: undefined as never },
    /say HOTPLUG, but the table has no release_resource/,
    /clear the flag/,
  ],
};

for (const [what, [change, message, remedy]] of Object.entries(faults)) {
  test(`a table that ${what} is refused, saying what to do`, () => {
    assert.throws(
      () => driverFromTable({ ...inMemoryTable(), ...change }, { name: 'of-2010' }),
      (error) => {
        assert.ok(isHoldfastError(error, 'DRIVER_BROKEN'));
        assert.match(error.message, message);
        assert.match(error.remedy, remedy);
        return true;
      },
    );
  });
}

test('a table of a newer version is asked for the version that is known', async () => {
  const table = { ...inMemoryTable(), version: 3 };
  await lazyDriver(driverFromTable(table, { name: 'of-2010' })).get();
  assert.deepEqual(table.calls, ['load 1 5']);
});

test('a load_drv that refuses fails the start, and is tried again at the next use', async () => {
  let answer = -1;
  const table = { ...inMemoryTable(), load_drv: () => answer };
  const lazy = lazyDriver(driverFromTable(table, { name: 'of-2010' }));
  await assert.rejects(lazy.get(), { code: 'DRIVER_FAILED', message: /load_drv refused version 1/ });
  answer = 0;
  await lazy.get();
});

test('new_drv that gives nothing, and a refused parameter, name the call', async () => {
  for (const [change, message] of [
    [{ new_drv: () => null }, /new_drv gave nothing/],
    [{ set_parameter_drv: () => -1 }, /set_parameter_drv refused id = -1/],
  ] as const) {
    const table = { ...inMemoryTable(), ...change };
    const driver = await lazyDriver(driverFromTable(table, { name: 'of-2010', nameOf })).get();
    await assert.rejects(driver.acquire(owner('web1'), [request('a')], { signal }), {
      code: 'DRIVER_FAILED',
      message,
    });
  }
});

test('a disk without a path cannot be locked, the guest itself can, and `part` is exclusive', async () => {
  const driver = await lazyDriver(driverFromTable(inMemoryTable(), { name: 'of-2010' })).get();
  const disk = namedResource('a');
  const mapped = driver.mapRequest?.({ resource: disk, mode: 'read' });
  assert.ok(mapped?.can === false);
  assert.match(mapped.reason, /by their path/);
  const guest = { ...disk, kind: 'domain' as const };
  assert.equal(driver.mapRequest?.({ resource: guest, mode: 'exclusive' }).can, true);
  const file = { ...disk, path: '/images/link.img', realPath: '/images/a.img' };
  const part = driver.mapRequest?.({ resource: file, mode: 'part' });
  assert.ok(part?.can);
  assert.equal(part.mode, 'exclusive');
});

test('a guest that cannot be attached is lost', async () => {
  const driver = await lazyDriver(driverFromTable(inMemoryTable(), { name: 'of-2010', nameOf })).get();
  await assert.rejects(driver.adopt?.(owner('web1'), [request('a')], []) ?? Promise.resolve(), {
    code: 'LOST',
  });
});

test('whatever fails, a table gets its handle back, and may refuse to be unloaded', async () => {
  for (const [failing, code] of [
    ['set_parameter_drv', 'DRIVER_FAILED'],
    ['startup_drv', 'IN_USE'],
    ['shutdown_drv', 'DRIVER_FAILED'],
  ] as const) {
    let freed = 0;
    const table = Object.assign(inMemoryTable(), {
      free_drv: async () => void freed++,
      unload_drv: async () => -1,
      [failing]: async () => -1,
    });
    const lazy = lazyDriver(driverFromTable(table, { name: 'of-2010', nameOf }));
    const driver = await lazy.get();
    const whole = async (): Promise<void> =>
      driver.release(await driver.acquire(owner('web1'), [request('a'), request('b')], { signal }));
    await assert.rejects(whole(), { code, ...(code === 'IN_USE' ? { resource: '/images/a.img' } : {}) });
    assert.equal(freed, 1, failing);
    await lazy.end();
  }
});
