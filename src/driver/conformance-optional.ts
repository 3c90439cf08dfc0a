/** The optional functions: these cases run where the driver has the function. */
import assert from 'node:assert/strict';
import { refusal, requestsFor, never } from './conformance-bench.js';
import type { Bench, CaseDefinition } from './conformance-bench.js';
import type { Driver, Grant } from './contract.js';
import type { Resource } from '../vocabulary.js';

const signal = never;

const hotplugCases: readonly CaseDefinition[] = [
  {
    name: 'extend adds to a grant',
    ability: 'extend',
    needs: ['extend'],
    async run({ a, b, about, owner, acquire, keep, resources, assertInUse, assertFree }) {
      const { disks, one, two } = await pair(resources);
      const guest = owner('guest');
      const grant = await acquire(a, guest, [one]);
      const more = await has(a, 'extend')(grant, guest, requestsFor([two], 'exclusive'), { signal });
      keep(a, more, grant);
      assert.deepEqual(identities(more), [one.identity, two.identity].toSorted());
      if (about.reach !== 'none') for (const disk of disks) await assertInUse(b, [disk]);
      await a.release(more);
      await assertFree(b, disks);
    },
  },
  {
    name: 'extend that is refused adds nothing and takes nothing away',
    ability: 'extend',
    needs: ['extend'],
    excludes: true,
    async run({ a, b, owner, acquire, resources, assertInUse, assertFree }) {
      const { one, two } = await pair(resources);
      const more = await resources(1);
      const guest = owner('guest');
      const grant = await acquire(a, guest, [one]);
      const other = await acquire(b, owner('other'), [two]);
      const asked = requestsFor([...more, two], 'exclusive');
      assert.equal((await refusal(has(a, 'extend')(grant, guest, asked, { signal }))).code, 'IN_USE');
      await assertInUse(b, [one]);
      await assertFree(b, more);
      await b.release(other);
      await a.release(grant);
      await assertFree(b, [one, two]);
    },
  },
  {
    name: 'shrink gives back what it names, and no more',
    ability: 'shrink',
    needs: ['shrink'],
    async run({ a, b, about, owner, acquire, keep, resources, assertInUse, assertFree }) {
      const { disks, one, two } = await pair(resources);
      const grant = await acquire(a, owner('guest'), disks);
      const less = keep(a, await has(a, 'shrink')(grant, [two.identity]), grant);
      assert.deepEqual(identities(less), [one.identity]);
      await assertFree(b, [two]);
      if (about.reach !== 'none') await assertInUse(b, [one]);
      await a.release(less);
      await assertFree(b, [one]);
    },
  },
];

const pauseCases: readonly CaseDefinition[] = [
  {
    name: 'suspend frees, and resume takes again',
    ability: 'suspend',
    needs: ['suspend', 'resume'],
    excludes: true,
    async run({ a, b, owner, acquire, keep, resource, assertInUse, assertFree }) {
      const disk = await resource();
      const grant = await acquire(a, owner('guest'), [disk]);
      await has(a, 'suspend')(grant);
      assert.deepEqual([...(await b.holders(disk))], []);
      const again = keep(a, await has(a, 'resume')(grant, { signal }), grant);
      await assertInUse(b, [disk]);
      await a.release(again);
      await assertFree(b, [disk]);
    },
  },
  {
    name: 'resume is refused as LOST when somebody had it in between',
    ability: 'suspend',
    needs: ['suspend', 'resume'],
    excludes: true,
    async run({ a, b, owner, acquire, resource, assertFree }) {
      const disk = await resource();
      const grant = await acquire(a, owner('guest'), [disk]);
      await has(a, 'suspend')(grant);
      await b.release(await acquire(b, owner('other'), [disk]));
      assert.equal((await refusal(has(a, 'resume')(grant, { signal }))).code, 'LOST');
      await assertFree(b, [disk]);
    },
  },
  {
    name: 'a suspended grant can be released',
    ability: 'suspend',
    needs: ['suspend', 'resume'],
    async run({ a, b, owner, acquire, resource, assertFree }) {
      const disk = await resource();
      const grant = await acquire(a, owner('guest'), [disk]);
      await has(a, 'suspend')(grant);
      await a.release(grant);
      await assertFree(b, [disk]);
    },
  },
];

const handoverCases: readonly CaseDefinition[] = [
  {
    name: 'an offer stays held until it is accepted, then the receiver has it',
    ability: 'offer',
    needs: ['offer', 'accept'],
    excludes: true,
    async run({ a, b, owner, acquire, keep, resources, assertInUse, assertFree }) {
      const disks = await resources(2);
      const grant = await acquire(a, owner('source'), disks);
      const offer = await has(a, 'offer')(grant);
      for (const value of Object.values(offer)) assert.equal(typeof value, 'string');
      await assertInUse(b, disks);
      const taken = keep(b, await has(b, 'accept')(offer, owner('target'), { signal }), grant);
      assert.deepEqual(identities(taken), identities(grant));
      await assertInUse(a, disks);
      await a.release(grant);
      await assertInUse(a, disks);
      await b.release(taken);
      await assertFree(a, disks);
    },
  },
  {
    name: 'an offer is accepted once',
    ability: 'offer',
    needs: ['offer', 'accept'],
    excludes: true,
    async run({ a, b, owner, acquire, keep, resource }) {
      const grant = await acquire(a, owner('source'), [await resource()]);
      const offer = await has(a, 'offer')(grant);
      keep(b, await has(b, 'accept')(offer, owner('target'), { signal }), grant);
      await refusal(has(b, 'accept')(offer, owner('thief'), { signal }));
    },
  },
  {
    name: 'an offer that was taken back cannot be accepted, and the grant stays',
    ability: 'offer',
    needs: ['offer', 'accept', 'cancel'],
    excludes: true,
    async run({ a, b, owner, acquire, resource, assertInUse, assertFree }) {
      const disk = await resource();
      const grant = await acquire(a, owner('source'), [disk]);
      const offer = await has(a, 'offer')(grant);
      await has(a, 'cancel')(grant, offer);
      await refusal(has(b, 'accept')(offer, owner('target'), { signal }));
      await assertInUse(b, [disk]);
      await a.release(grant);
      await assertFree(b, [disk]);
    },
  },
  {
    name: 'inquire gives a string',
    ability: 'inquire',
    needs: ['inquire'],
    async run({ a, owner, acquire, resource }) {
      const grant = await acquire(a, owner('guest'), [await resource()]);
      assert.equal(typeof (await has(a, 'inquire')(grant)), 'string');
    },
  },
  {
    name: 'who acquires with an earlier state is told LOST if somebody had it in between, and only then',
    ability: 'inquire',
    needs: ['inquire'],
    excludes: true,
    async run({ a, b, owner, acquire, keep, resource, assertFree }) {
      const disk = await resource();
      const asked = requestsFor([disk], 'exclusive');
      const grant = await acquire(a, owner('source'), [disk]);
      const state = await has(a, 'inquire')(grant);
      await a.release(grant);
      const taken = keep(b, await b.acquire(owner('target'), asked, { signal, state }), grant);
      await b.release(taken);
      assert.equal((await refusal(b.acquire(owner('late'), asked, { signal, state }))).code, 'LOST');
      await assertFree(a, [disk]);
    },
  },
];

const recoveryCases: readonly CaseDefinition[] = [
  {
    name: 'adopt takes up what is held, and no gap opens',
    ability: 'adopt',
    needs: ['adopt'],
    excludes: true,
    async run({ a, b, owner, acquire, keep, resources, assertInUse, assertFree }) {
      const disks = await resources(2);
      const guest = owner('guest');
      const grant = await acquire(a, guest, disks);
      const adopted = keep(b, await has(b, 'adopt')(guest, grant.requests, grant.descriptors), grant);
      assert.deepEqual(identities(adopted), identities(grant));
      await assertInUse(a, disks);
      await b.release(adopted);
      await assertFree(a, disks);
    },
  },
  {
    name: 'adopt refuses what somebody else holds by now',
    ability: 'adopt',
    needs: ['adopt'],
    excludes: true,
    async run({ a, b, owner, acquire, resource, assertInUse }) {
      const disk = await resource();
      await acquire(a, owner('other'), [disk]);
      await refusal(has(b, 'adopt')(owner('guest'), requestsFor([disk], 'exclusive'), []));
      await assertInUse(b, [disk]);
    },
  },
  {
    name: 'breakLock frees, and the holder is told of the loss',
    ability: 'breakLock',
    needs: ['breakLock'],
    excludes: true,
    async run({ a, b, owner, acquire, resources, assertInUse, assertFree, inTime }) {
      const { one, two } = await pair(resources);
      const grant = await acquire(a, owner('guest'), [one, two]);
      assert.ok(grant.lost !== undefined, 'the grant has no `lost`, so nobody could be told');
      await has(b, 'breakLock')(one, 'its host was switched off');
      const loss = await inTime(grant.lost, 'lost did not settle');
      assert.match(loss.reason, /its host was switched off/);
      assert.ok(loss.resources.length > 0, 'it does not say what was lost');
      await assertFree(b, [one]);
      await assertInUse(b, [two]);
      await a.release(grant);
      await assertFree(b, [one, two]);
    },
  },
];

const askingCases: readonly CaseDefinition[] = [
  {
    name: 'tidy touches nothing that is held, and leaves what is free free',
    ability: 'tidy',
    needs: ['tidy'],
    async run({ a, b, about, owner, acquire, resources, assertInUse, assertFree }) {
      const { disks, one, two } = await pair(resources);
      const grant = await acquire(a, owner('guest'), [one]);
      await has(b, 'tidy')(requestsFor(disks, 'exclusive'));
      if (about.reach !== 'none') await assertInUse(b, [one]);
      await assertFree(a, [two]);
      await a.release(grant);
      await has(b, 'tidy')(requestsFor(disks, 'exclusive'));
      await assertFree(b, disks);
    },
  },
  {
    name: 'wait returns when it is worth asking again',
    ability: 'wait',
    needs: ['wait'],
    excludes: true,
    async run({ a, b, owner, acquire, resource, inTime }) {
      const disk = await resource();
      const requests = requestsFor([disk], 'exclusive');
      await inTime(has(b, 'wait')(owner('early'), requests, { signal }), 'it waits for what is free');
      const grant = await acquire(a, owner('first'), [disk]);
      const waiting = has(b, 'wait')(owner('second'), requests, { signal });
      await a.release(grant);
      await inTime(waiting, 'it still waits after the release');
    },
  },
  {
    name: 'wait ends when it is aborted',
    ability: 'wait',
    needs: ['wait'],
    excludes: true,
    async run({ a, b, owner, acquire, resource, assertInUse, inTime }) {
      const disk = await resource();
      await acquire(a, owner('first'), [disk]);
      const stop = new AbortController();
      const requests = requestsFor([disk], 'exclusive');
      const waiting = has(b, 'wait')(owner('second'), requests, { signal: stop.signal });
      stop.abort();
      await inTime(
        waiting.catch(() => {}),
        'it still waits after the abort',
      );
      await assertInUse(b, [disk]);
    },
  },
  {
    name: 'probe tells free from held, and takes nothing',
    ability: 'probe',
    needs: ['probe'],
    excludes: true,
    async run({ a, b, owner, acquire, resources, assertFree }) {
      const { one, two } = await pair(resources);
      const grant = await acquire(a, owner('guest'), [one]);
      const results = await has(b, 'probe')(requestsFor([one, two], 'exclusive'));
      const free = new Map(results.map((result) => [result.identity, result.free]));
      assert.equal(free.get(one.identity), false);
      assert.equal(free.get(two.identity), true);
      await assertFree(a, [two]);
      await a.release(grant);
      await assertFree(b, [one]);
    },
  },
];

export const optionalCases: readonly CaseDefinition[] = [
  ...hotplugCases,
  ...pauseCases,
  ...handoverCases,
  ...recoveryCases,
  ...askingCases,
];

/** A function that the case needs; the suite runs the case only where it is there. */
function has<Name extends keyof Driver>(driver: Driver, name: Name): NonNullable<Driver[Name]> {
  const found = driver[name];
  assert.ok(found !== undefined, `the other instance of the driver has no \`${name}\``);
  return found.bind(driver) as NonNullable<Driver[Name]>;
}

async function pair(
  resources: Bench['resources'],
): Promise<{ disks: Resource[]; one: Resource; two: Resource }> {
  const disks = await resources(2);
  const [one, two] = disks;
  assert.ok(one !== undefined && two !== undefined);
  return { disks, one, two };
}

function identities(grant: Grant): string[] {
  return grant.requests.map(({ resource }) => resource.identity).toSorted();
}
