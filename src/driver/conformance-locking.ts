/** What every driver has to do: acquire all or nothing, release, say who holds. */
import assert from 'node:assert/strict';
import { HoldfastError, isHoldfastError } from '../errors.js';
import type { Grant } from './contract.js';
import { driverNamePattern } from './driver-shape.js';
import { lazyDriver } from './started-driver.js';
import { never, refusal, requestsFor } from './conformance-bench.js';
import type { Bench, CaseDefinition } from './conformance-bench.js';

/** More than a guest has disks; a driver that opens something for each must give it all back. */
const manyRequests = 100;
const contenders = 20;

export const lockingCases: readonly CaseDefinition[] = [
  {
    name: 'about says what the driver is',
    ability: 'about',
    async run({ about }) {
      assert.match(about.name, driverNamePattern);
      assert.ok(about.modes.length > 0, 'it has no mode at all');
      assert.ok(about.doesNotGuarantee.length > 0, 'every technology has something it does not guarantee');
      for (const line of [...about.guarantees, ...about.doesNotGuarantee]) {
        assert.ok(line !== '' && !line.includes('\n'), 'one line each');
      }
    },
  },
  {
    name: 'it ends, and starts again',
    ability: 'start and end',
    async run({ options, resource, assertFree }) {
      const disk = await resource();
      for (let round = 0; round < 2; round++) {
        const lazy = lazyDriver(options.factory, options.settings);
        await assertFree(await lazy.get(), [disk]);
        await lazy.end();
      }
    },
  },
  {
    name: 'settings that are wrong make the start fail',
    ability: 'start and end',
    badSettings: true,
    async run({ options }) {
      const error = await refusal(lazyDriver(options.factory, options.badSettings).get());
      assert.notEqual(error.message, '');
    },
  },
  {
    name: 'notes are strings',
    ability: 'notes',
    async run({ a, owner, acquire, resource }) {
      const grant = await acquire(a, owner('guest'), [await resource()]);
      for (const note of [...(a.notes?.() ?? []), ...(grant.notes ?? [])])
        assert.equal(typeof note, 'string');
    },
  },
  {
    name: 'a grant lists what was granted',
    ability: 'acquire',
    async run({ a, owner, acquire, resources }) {
      const disks = await resources(3);
      const grant = await acquire(a, owner('guest'), disks);
      const identities = disks.map(({ identity }) => identity);
      assert.deepEqual(grant.requests.map(({ resource }) => resource.identity).toSorted(), identities);
      for (const { mode } of grant.requests) assert.equal(mode, 'exclusive');
      for (const [identity, token] of Object.entries(grant.tokens)) {
        assert.ok(identities.includes(identity), `a token for ${identity}, which was not asked for`);
        assert.equal(typeof token, 'string');
      }
      assert.equal(new Set(grant.descriptors).size, grant.descriptors.length);
    },
  },
  {
    name: 'a refusal is IN_USE and names the resource as written',
    ability: 'acquire',
    excludes: true,
    async run({ a, b, owner, acquire, resource }) {
      const disk = await resource();
      await acquire(a, owner('first'), [disk]);
      const error = await refusal(acquire(b, owner('second'), [disk]));
      assert.ok(isHoldfastError(error, 'IN_USE'), `it was ${error.code}`);
      assert.equal(error.resource, disk.label);
      assert.ok(error.retryable);
    },
  },
  {
    name: 'no request at all is granted',
    ability: 'acquire',
    async run({ a, owner, acquire }) {
      const grant = await acquire(a, owner('guest'), []);
      assert.deepEqual([...grant.requests], []);
      await a.release(grant);
    },
  },
  {
    name: 'a hundred requests are granted, or refused for the last of them',
    ability: 'all or nothing',
    async run({ a, b, about, owner, acquire, resources, assertInUse, assertFree }) {
      const disks = await resources(manyRequests);
      const grant = await acquire(a, owner('first'), disks.slice(-1));
      if (about.reach !== 'none') await assertInUse(b, disks);
      await a.release(grant);
      const all = await acquire(b, owner('second'), disks);
      assert.equal(all.requests.length, manyRequests);
      await b.release(all);
      await assertFree(a, disks);
    },
  },
  {
    name: 'nothing is left of an acquire that was refused',
    ability: 'all or nothing',
    excludes: true,
    async run({ a, b, owner, acquire, resources, assertInUse, assertFree }) {
      for (const taken of [0, 1, 2]) {
        const disks = await resources(3);
        const grant = await acquire(a, owner('first'), disks.slice(taken, taken + 1));
        await assertInUse(b, disks);
        await assertFree(
          a,
          disks.filter((_, n) => n !== taken),
        );
        await a.release(grant);
        await assertFree(b, disks);
      }
    },
  },
  {
    name: 'the order of the requests changes nothing',
    ability: 'all or nothing',
    excludes: true,
    async run(bench) {
      const { a, b, owner, acquire, resources, assertInUse, assertFree } = bench;
      const disks = await resources(3);
      const grant = await acquire(a, owner('first'), disks.toReversed());
      for (const disk of disks) await assertInUse(b, [disk]);
      await a.release(grant);
      for (let round = 0; round < contenders; round++) {
        const granted = await settle(bench, [
          [a, acquire(a, owner('forward'), disks)],
          [b, acquire(b, owner('backward'), disks.toReversed())],
        ]);
        assert.ok(granted <= 1, 'both were granted');
      }
      await assertFree(a, disks);
    },
  },
  {
    name: 'of many who ask at once, one is granted at most',
    ability: 'acquire',
    excludes: true,
    async run(bench) {
      const { a, b, owner, acquire, resource, assertFree } = bench;
      const disk = await resource();
      const asking = Array.from({ length: contenders }, (_, n) => {
        const driver = n % 2 === 0 ? a : b;
        return [driver, acquire(driver, owner(`guest${n}`), [disk])] as const;
      });
      assert.ok((await settle(bench, asking)) <= 1, 'more than one was granted');
      await assertFree(b, [disk]);
    },
  },
  {
    name: 'the same owner who asks again is refused like anyone else',
    ability: 'acquire',
    excludes: true,
    async run({ a, owner, acquire, resource }) {
      const disk = await resource();
      const guest = owner('guest');
      await acquire(a, guest, [disk]);
      assert.equal((await refusal(acquire(a, guest, [disk]))).code, 'IN_USE');
    },
  },
  {
    name: 'release frees, and twice is no error',
    ability: 'release',
    async run({ a, b, owner, acquire, resource, assertFree, about }) {
      const disk = await resource();
      const first = await acquire(a, owner('first'), [disk]);
      await a.release(first);
      const second = await acquire(b, owner('second'), [disk]);
      await a.release(first);
      if (about.reach !== 'none') {
        const message = 'the second release of an old grant freed what somebody else holds';
        await assert.rejects(acquire(a, owner('third'), [disk]), { code: 'IN_USE' }, message);
      }
      await b.release(second);
      await assertFree(a, [disk]);
    },
  },
  {
    name: 'nobody holds what is free',
    ability: 'holders',
    async run({ a, b, owner, acquire, resource }) {
      const disk = await resource();
      assert.deepEqual([...(await a.holders(disk))], []);
      await a.release(await acquire(a, owner('guest'), [disk]));
      assert.deepEqual([...(await b.holders(disk))], []);
    },
  },
  {
    name: 'holders sees who holds, from either side',
    ability: 'holders',
    excludes: true,
    async run({ a, b, owner, acquire, resource }) {
      const disk = await resource();
      await acquire(a, owner('guest'), [disk]);
      for (const driver of [a, b]) {
        const [holder] = await driver.holders(disk);
        assert.ok(holder !== undefined, 'it sees nobody');
        assert.ok(holder.through.length > 0, 'it does not say through what');
      }
    },
  },
  {
    name: 'holders names the owner, with uuid and pid',
    ability: 'holders',
    excludes: true,
    async run({ a, b, owner, acquire, resource }) {
      const disk = await resource();
      const guest = owner('guest');
      await acquire(a, guest, [disk]);
      const holders = await b.holders(disk);
      assert.ok(
        holders.some(({ uuid, pid }) => uuid === guest.uuid && pid === guest.pid),
        `it names ${JSON.stringify(holders)}`,
      );
    },
  },
  {
    name: 'an acquire that was aborted leaves nothing',
    ability: 'abort',
    async run({ a, b, owner, acquire, resources, assertFree }) {
      const disks = await resources(3);
      const early = new AbortController();
      early.abort();
      await releaseIfGranted(acquire(a, owner('early'), disks, 'exclusive', early.signal));
      await assertFree(b, disks);

      const late = new AbortController();
      const asking = acquire(a, owner('late'), disks, 'exclusive', late.signal);
      late.abort();
      await releaseIfGranted(asking);
      await assertFree(b, disks);

      async function releaseIfGranted(asking: Promise<Grant>): Promise<void> {
        const grant = await asking.catch((error: unknown) => {
          assert.ok(error instanceof HoldfastError || isHoldfastError(error), String(error));
        });
        if (grant !== undefined) await a.release(grant);
      }
    },
  },
  {
    name: 'fencing tokens grow with every grant',
    ability: 'tokens',
    tokens: true,
    async run({ a, b, owner, acquire, resource }) {
      const disk = await resource();
      let last = -1n;
      for (const driver of [a, b, a, b]) {
        const grant = await acquire(driver, owner('guest'), [disk]);
        const token = grant.tokens[disk.identity] ?? '';
        const [, number = ''] = /(?:^|:)(\d+)$/.exec(token) ?? [];
        assert.notEqual(number, '', `the token ${JSON.stringify(token)} ends in no number`);
        assert.ok(BigInt(number) > last, `${number} came after ${last}`);
        last = BigInt(number);
        await driver.release(grant);
      }
    },
  },
  {
    name: 'a release touches no other grant',
    ability: 'release',
    excludes: true,
    async run({ a, b, owner, resources, assertInUse }) {
      const [one, other] = await resources(2);
      assert.ok(one !== undefined && other !== undefined);
      const guest = owner('guest');
      const first = await a.acquire(guest, requestsFor([one], 'exclusive'), { signal: never });
      const second = await a.acquire(guest, requestsFor([other], 'exclusive'), { signal: never });
      await a.release(first);
      try {
        await assertInUse(b, [other]);
      } finally {
        await a.release(second);
      }
    },
  },
];

/** Waits for all, releases what was granted, and counts it; any refusal but IN_USE is thrown. */
async function settle(
  { keep }: Bench,
  asking: readonly (readonly [Bench['a'], Promise<Grant>])[],
): Promise<number> {
  const outcomes = await Promise.allSettled(asking.map(([, call]) => call));
  let granted = 0;
  for (const [n, outcome] of outcomes.entries()) {
    const driver = asking[n]?.[0];
    if (outcome.status === 'rejected') {
      if (!isHoldfastError(outcome.reason, 'IN_USE')) throw outcome.reason;
    } else if (driver !== undefined) {
      granted++;
      await driver.release(keep(driver, outcome.value));
    }
  }
  return granted;
}
