import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';
import * as fc from 'fast-check';
import { driverConformance, runWithNodeTest } from '../../../src/driver/conformance.js';
import type { Driver, Grant } from '../../../src/driver/contract.js';
import { optionalFunctions } from '../../../src/driver/driver-shape.js';
import memory from '../../../src/drivers/memory/memory.js';
import { compatible, modes } from '../../../src/vocabulary.js';
import type { Mode } from '../../../src/vocabulary.js';
import { namedResource, owner, request, signal } from '../../driver/named-resource.js';

const suite = await driverConformance({
  factory: memory,
  settings: { space: randomUUID() },
  badSettings: { space: 7 },
  makeResource: namedResource,
});
runWithNodeTest(test, suite);

/** What only a technology has that hosts share: a place for what is given back, a list of all hosts' holds, servers to look after. */
const ofClusters: readonly string[] = ['reserve', 'clusterHolds', 'examine', 'makeLease', 'readLeases'];

test('the model has every function of the contract but those of clusters, and skips no case', () => {
  assert.deepEqual(
    suite.offered,
    optionalFunctions.filter((name) => !ofClusters.includes(name)),
  );
  assert.deepEqual(
    suite.cases.filter(({ skip }) => skip !== undefined),
    [],
  );
});

async function start(space = randomUUID()): Promise<Driver> {
  return memory.start({ space });
}

test('without a space, each started driver has a table of its own', async () => {
  const [a, b] = [await memory.start({}), await memory.start({})];
  await a.acquire(owner('one'), [request('a')], { signal });
  await b.acquire(owner('two'), [request('a')], { signal });
  assert.deepEqual((await a.holders(namedResource('a'))).length, 1);
});

test('a suspended reader can resume after another reader, but not after a writer', async () => {
  const driver = await start();
  const readers = [];
  for (const name of ['a', 'b']) {
    const reader = await driver.acquire(owner('reader'), [request(name, 'read')], { signal });
    await driver.suspend?.(reader);
    readers.push(reader);
  }
  const [first, second] = readers;
  assert.ok(first !== undefined && second !== undefined);
  await driver.acquire(owner('reader 2'), [request('a', 'read')], { signal });
  await driver.resume?.(first, { signal });

  await driver.release(await driver.acquire(owner('writer'), [request('b')], { signal }));
  await assert.rejects(driver.resume?.(second, { signal }) ?? Promise.resolve(), {
    code: 'LOST',
    resource: '/images/b.img',
  });
});

test('a lock broken while its owner is suspended is lost to it', async () => {
  const driver = await start();
  const grant = await driver.acquire(owner('one'), [request('a')], { signal });
  await driver.suspend?.(grant);
  await driver.breakLock?.(namedResource('a'), 'by hand');
  await assert.rejects(driver.resume?.(grant, { signal }) ?? Promise.resolve(), { code: 'LOST' });
});

test('a grant that ended can be released only', async () => {
  const driver = await start();
  const one = owner('one');
  const grant = await driver.acquire(one, [request('a')], { signal });
  await driver.release(grant);
  await driver.release(grant);
  const calls = [
    driver.extend?.(grant, one, [request('b')], { signal }),
    driver.shrink?.(grant, []),
    driver.suspend?.(grant),
    driver.resume?.(grant, { signal }),
    driver.offer?.(grant),
    driver.inquire?.(grant),
  ];
  for (const call of calls) await assert.rejects(call ?? Promise.resolve(), { code: 'ENDED' });
});

test('a grant that lost a lock cannot be extended', async () => {
  const driver = await start();
  const one = owner('one');
  const grant = await driver.acquire(one, [request('a')], { signal });
  await driver.breakLock?.(namedResource('a'), 'by hand');
  await assert.rejects(driver.extend?.(grant, one, [request('b')], { signal }) ?? Promise.resolve(), {
    code: 'LOST',
  });
});

test('extending by what is held already, and a grant of another driver, are slips of the caller', async () => {
  const driver = await start();
  const one = owner('one');
  const grant = await driver.acquire(one, [request('a')], { signal });
  await assert.rejects(driver.extend?.(grant, one, [request('a')], { signal }) ?? Promise.resolve(), {
    code: 'USAGE',
  });
  await assert.rejects(driver.release({ requests: [], descriptors: [], tokens: {} }), { code: 'USAGE' });
});

test('a refusal names the first resource in the way, and its holders only', async () => {
  const driver = await start();
  const reader = owner('reader');
  await driver.acquire(reader, [request('b', 'read')], { signal });
  await assert.rejects(
    driver.acquire(owner('two'), [request('a'), request('b')], { signal }),
    (error: { code: string; resource: string; mode: string; holders: { uuid: string; mode: Mode }[] }) => {
      assert.equal(error.code, 'IN_USE');
      assert.equal(error.resource, '/images/b.img');
      assert.equal(error.mode, 'exclusive');
      assert.deepEqual(
        error.holders.map(({ uuid, mode }) => [uuid, mode]),
        [[reader.uuid, 'read']],
      );
      return true;
    },
  );
});

test('any sequence of calls by several owners keeps every pair of holders compatible', async () => {
  const names = ['a', 'b', 'c'];
  const action = fc.record({
    what: fc.constantFrom('acquire', 'release', 'extend', 'shrink', 'suspend', 'resume', 'move', 'break'),
    who: fc.nat(3),
    disks: fc.subarray(names, { minLength: 1 }),
    mode: fc.constantFrom(...modes),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 40 }), async (actions) => {
      const driver = await start();
      const owners = [0, 1, 2, 3].map((n) => owner(`guest${n}`));
      const grants = new Map<number, Grant>();
      for (const { what, who, disks, mode } of actions) {
        const grant = grants.get(who);
        const guest = owners[who];
        assert.ok(guest !== undefined);
        const requests = disks.map((name) => request(name, mode));
        try {
          if (what === 'acquire' && grant === undefined) {
            grants.set(who, await driver.acquire(guest, requests, { signal }));
          } else if (grant === undefined) {
            continue;
          } else if (what === 'release') {
            grants.delete(who);
            await driver.release(grant);
          } else if (what === 'extend') {
            const more = await driver.extend?.(grant, guest, requests, { signal });
            if (more !== undefined) grants.set(who, more);
          } else if (what === 'shrink') {
            const identities = requests.map(({ resource }) => resource.identity);
            const less = await driver.shrink?.(grant, identities);
            if (less !== undefined) grants.set(who, less);
          } else if (what === 'suspend') {
            await driver.suspend?.(grant);
          } else if (what === 'resume') {
            await driver.resume?.(grant, { signal });
          } else if (what === 'move') {
            const offer = await driver.offer?.(grant);
            const moved = await driver.accept?.(offer ?? {}, guest, { signal });
            if (moved !== undefined) grants.set(who, moved);
          } else if (what === 'break') {
            await driver.breakLock?.(namedResource(disks[0] ?? ''), 'chance');
          }
        } catch (error) {
          assert.match((error as { code: string }).code, /^(IN_USE|LOST|ENDED|USAGE)$/);
        }
        for (const name of names) {
          const held = (await driver.holders(namedResource(name))).map((holder) => holder.mode);
          held.forEach((one, n) =>
            held.slice(n + 1).forEach((other) => {
              assert.ok(one !== undefined && other !== undefined && compatible(one, other));
            }),
          );
        }
      }
      for (const grant of grants.values()) await driver.release(grant);
      for (const name of names) assert.deepEqual(await driver.holders(namedResource(name)), []);
    }),
    { numRuns: 200 },
  );
});
