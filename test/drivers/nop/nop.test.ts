import assert from 'node:assert/strict';
import test from 'node:test';
import { driverConformance, runWithNodeTest } from '../../../src/driver/conformance.js';
import nop from '../../../src/drivers/nop/nop.js';
import { namedResource, owner, request, signal } from '../../driver/named-resource.js';

runWithNodeTest(test, await driverConformance({ factory: nop, makeResource: namedResource }));

test('nop grants to two what excludes each other, and says that it locks nothing', async () => {
  const driver = await nop.start({});
  const one = await driver.acquire(owner('one'), [request('a')], { signal });
  const two = await driver.acquire(owner('two'), [request('a')], { signal });
  assert.match(one.notes?.[0] ?? '', /nothing is locked/);
  assert.deepEqual(two.requests, [request('a')]);
  assert.deepEqual(nop.about.guarantees, []);
});
