import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '../../src/errors.js';
import { joinPlans, makePlan } from '../../src/plan/make-plan.js';
import type { ErrorCode, LeaseDescription, Plan } from '../../src/vocabulary.js';
import { guest, scratch } from './guest.js';

const place = { file: 'guest.xml', line: 7, column: 5 };

function lease(path: string | undefined, more: Partial<LeaseDescription> = {}): LeaseDescription {
  const named = { label: 'ls:key', place, lockspace: 'ls', key: 'key', offset: 0, ...more };
  return path === undefined ? named : { ...named, path };
}

const planOf = (...leases: readonly LeaseDescription[]): Promise<Plan> => makePlan(guest([], { leases }));

async function failsWith(code: ErrorCode, one: LeaseDescription, text: RegExp): Promise<void> {
  await assert.rejects(planOf(one), (error) => {
    assert.ok(isHoldfastError(error, code), String(error));
    assert.equal(error.exitCode, 66);
    assert.equal(error.resource, 'ls:key');
    assert.deepEqual(error.place, place);
    assert.match(error.message, text);
    return true;
  });
}

test('where a lease is kept has to be there, and be something that can keep it', async (t) => {
  const folder = scratch(t);
  const [file, pipe] = [join(folder, 'file'), join(folder, 'pipe')];
  writeFileSync(file, '');
  execFileSync('mkfifo', [pipe]);
  await failsWith('NO_SUCH_FILE', lease(join(folder, 'gone')), /gone \(lease ls:key\) does not exist/);
  await failsWith('NO_SUCH_FILE', lease(join(file, 'below')), /cannot exist: a part of the path is a file/);
  await failsWith('NOT_A_DISK', lease(pipe), /is neither a regular file/);
  // Whether it has to be a file or a folder, the driver knows.
  for (const path of [file, folder]) {
    const [request] = (await planOf(lease(path))).requests;
    assert.equal(request?.resource.lease?.path, path);
    assert.equal(request.resource.path, undefined);
  }
});

test('only looking for who has it, the place of a lease may be missing', async (t) => {
  const leases = [lease(join(scratch(t), 'gone'))];
  assert.equal((await makePlan(guest([], { leases }), { identityOnly: true })).requests.length, 1);
});

test('one lease is kept in one place: a second one is refused, by whatever name the first goes', async (t) => {
  const folder = scratch(t);
  const [one, two, link] = ['one', 'two', 'link'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  mkdirSync(one);
  mkdirSync(two);
  symlinkSync(one, link);
  const { items, requests } = await planOf(lease(one), lease(two));
  assert.equal(requests.length, 0);
  for (const { verdict, code, reason } of items) {
    assert.equal(verdict, 'refuse');
    assert.equal(code, 'BAD_DATA');
    assert.match(reason ?? '', /^one lease cannot be kept in two places: .*\/one, .*\/two$/);
  }
  const offsets = await planOf(lease(one), lease(one, { offset: 512 }));
  assert.deepEqual(
    offsets.items.map(({ code }) => code),
    ['BAD_DATA', 'BAD_DATA'],
  );
  for (const same of [link, `${one}/`, one]) {
    const plan = await planOf(lease(one), lease(same));
    assert.deepEqual([plan.requests.length, plan.requests[0]?.resource.lease?.path], [1, one]);
  }
  assert.equal(joinPlans(await planOf(lease(one)), await planOf(lease(two))).requests.length, 0);
});

test('with its place and without, it is locked in its place', async (t) => {
  const folder = scratch(t);
  for (const leases of [
    [lease(undefined), lease(folder)],
    [lease(folder), lease(undefined)],
  ]) {
    const { requests } = await planOf(...leases);
    assert.deepEqual([requests.length, requests[0]?.resource.lease?.path], [1, folder]);
  }
});
