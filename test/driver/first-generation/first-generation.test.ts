import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { after } from 'node:test';
import { driverConformance, runWithNodeTest } from '../../../src/driver/conformance.js';
import { findDriver } from '../../../src/driver/discovery.js';
import { namedResource } from '../named-resource.js';

const source = fileURLToPath(new URL('first-generation.mjs', import.meta.url));

// The checkout may stand in a folder that others can write, from which no driver is loaded.
const folder = await mkdtemp(join(tmpdir(), 'holdfast-first-generation-'));
const locks = mkdtempSync(join(tmpdir(), 'holdfast-first-generation-locks-'));
after(() => {
  rmSync(locks, { recursive: true });
  return rm(folder, { recursive: true });
});
await cp(source, join(folder, 'first-generation.mjs'));

const { factory, from } = await findDriver('first-generation', { path: folder });
const suite = await driverConformance({
  factory,
  settings: { folder: locks },
  badSettings: {},
  makeResource: namedResource,
});
runWithNodeTest(test, suite);

test('the frozen driver was found in a folder and has the minimum only', () => {
  assert.equal(from, 'folder');
  assert.deepEqual(suite.offered, []);
});

test('the frozen driver was not changed', () => {
  const sum = createHash('sha256').update(readFileSync(source)).digest('hex');
  assert.equal(sum, '1656c2a5b6d53bdb0ededa3eb1ac38d95376a9807f87ac74c4e5a58d078c1524');
});
