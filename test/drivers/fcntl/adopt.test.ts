/** Locks that a keeper keeps duplicates of: given back all the same, and taken up again by who comes after. */
import assert from 'node:assert/strict';
import { closeSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Driver, Grant } from '../../../src/driver/contract.js';
import fcntl from '../../../src/drivers/fcntl/fcntl.js';
import type { LockRequest, Mode, Owner, Resource } from '../../../src/vocabulary.js';
import { fileResource, namedResource } from '../../beds/file-resource.js';
import { duplicates } from '../../beds/keep-descriptors.js';
import { privateRuntime } from '../../beds/private-folder.js';

const folder = privateRuntime();
const lockspace = join(folder, 'run/lockspace');
const settings = { libvirt_config_dirs: [] };
const a = await fcntl.start(settings);
const b = await fcntl.start(settings);
const { signal } = new AbortController();
const owner: Owner = {
  kind: 'command',
  name: 'guest',
  uuid: '4dea22b3-1d52-d8f3-2516-782e98ab3fa0',
  pid: process.pid,
  startTime: 1,
  host: 'here',
  hostId: 'here',
};
let count = 0;
const newDisk = (): Resource => fileResource(join(folder, `disk-${++count}`));
const asked = (resources: readonly Resource[], mode: Mode = 'exclusive'): LockRequest[] =>
  resources.map((resource) => ({ resource, mode }));

async function isFree(driver: Driver, resource: Resource): Promise<boolean> {
  const [result] = (await driver.probe?.(asked([resource]))) ?? [];
  return result?.free === true;
}

async function adopt(descriptors: readonly number[], requests: readonly LockRequest[]): Promise<Grant> {
  assert.ok(b.adopt !== undefined);
  return b.adopt(owner, requests, descriptors);
}

test('a grant that is kept elsewhere is given back by unlocking', async () => {
  const resources = [newDisk(), namedResource('domain:kept')];
  const grant = await a.acquire(owner, asked(resources), { signal, unlockOnRelease: true });
  const kept = duplicates(grant.descriptors);
  await a.release(grant);
  for (const resource of resources) assert.equal(await isFree(b, resource), true, resource.label);
  assert.deepEqual(readdirSync(lockspace), []);
  kept.forEach((fd) => closeSync(fd));
});

test('without being told so it is only closed', async () => {
  const disk = newDisk();
  const grant = await a.acquire(owner, asked([disk]), { signal });
  const kept = duplicates(grant.descriptors);
  await a.release(grant);
  assert.equal(await isFree(b, disk), false);
  kept.forEach((fd) => closeSync(fd));
  assert.equal(await isFree(b, disk), true);
});

test('a part that is kept elsewhere is given back alone', async () => {
  const [one, two] = [newDisk(), newDisk()];
  const grant = await a.acquire(owner, asked([one, two]), { signal, unlockOnRelease: true });
  const kept = duplicates(grant.descriptors);
  const less = (await a.shrink?.(grant, [two.identity])) ?? grant;
  assert.deepEqual([await isFree(b, one), await isFree(b, two)], [false, true]);
  await a.release(less);
  kept.forEach((fd) => closeSync(fd));
});

for (const mode of ['exclusive', 'shared', 'read'] as const) {
  test(`what was kept is adopted, in whatever order: ${mode}`, async () => {
    const resources = [newDisk(), namedResource(`domain:adopted-${mode}`), newDisk()];
    const grant = await a.acquire(owner, asked(resources, mode), { signal, unlockOnRelease: true });
    const kept = duplicates(grant.descriptors);
    const keeper = duplicates(grant.descriptors);
    // As if the process that acquired it had been killed.
    grant.descriptors.forEach((fd) => closeSync(fd));
    const adopted = await adopt(kept.toReversed(), grant.requests);
    assert.deepEqual(new Set(adopted.descriptors), new Set(kept));
    for (const resource of resources) assert.equal(await isFree(a, resource), false, resource.label);
    await b.release(adopted);
    for (const resource of resources) assert.equal(await isFree(a, resource), true, resource.label);
    keeper.forEach((fd) => closeSync(fd));
  });
}

test('where somebody has a part of it, nothing is adopted and nothing let go', async () => {
  const [one, two] = [newDisk(), newDisk()];
  const grant = await a.acquire(owner, asked([one]), { signal });
  const other = await a.acquire(owner, asked([two]), { signal });
  await assert.rejects(adopt(grant.descriptors, asked([one, two])), { code: 'IN_USE' });
  assert.equal(await isFree(b, one), false);
  await a.release(grant);
  await a.release(other);
  assert.equal(await isFree(b, one), true);
});

test('a lock file that lost its name keeps nobody out, and is locked anew', async () => {
  const named = namedResource('domain:renamed');
  const grant = await a.acquire(owner, asked([named]), { signal });
  const other = await fcntl.start({ ...settings, lockspace_dir: join(folder, 'elsewhere') });
  const adopted = await other.adopt?.(owner, asked([named]), grant.descriptors);
  assert.equal(adopted?.descriptors.length, 2);
  assert.equal(await isFree(other, named), false);
  if (adopted !== undefined) await other.release(adopted);
  assert.equal(await isFree(other, named), true);
  assert.equal(existsSync(join(folder, 'elsewhere')), true);
});

test('with nobody left to keep it, it is taken again', async () => {
  const disk = newDisk();
  const adopted = await adopt([], asked([disk]));
  assert.equal(await isFree(a, disk), false);
  const keeper = duplicates(adopted.descriptors);
  await b.release(adopted);
  assert.equal(await isFree(a, disk), true);
  keeper.forEach((fd) => closeSync(fd));
});
