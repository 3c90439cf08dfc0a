/**
 * The connection is cut between a request and its answer: nobody knows whether it was done. Whatever the driver says then, nothing
 * is lost that was held, nothing stays held that was given back, and nothing that others have got meanwhile is touched.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Grant } from '../../../src/driver/contract.js';
import { lazyDriver } from '../../../src/driver/started-driver.js';
import etcdDriver from '../../../src/drivers/etcd/etcd.js';
import { isHoldfastError } from '../../../src/errors.js';
import type { LockRequest, Resource } from '../../../src/vocabulary.js';
import { startCutProxy, type CutProxy } from '../../beds/cut-proxy.js';
import { startEtcd, type EtcdCluster } from '../../beds/etcd.js';
import { clusterOwner, networkDisk, type FullEtcdDriver } from '../../beds/etcd-driver.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = privateRuntime();
const { signal } = new AbortController();
/** A chore that was left undone is tried again after a second. */
const laterMs = 2_500;

/** In a transaction that puts or deletes the lock; who looks or watches asks for a range. */
const keyOf = ({ identity }: Resource): string => `${identity}/exclusive/holder`;

const requests = (...resources: Resource[]): LockRequest[] =>
  resources.map((resource) => ({ resource, mode: 'exclusive' }));

describe('an answer that does not come', { skip: lacks('etcd') }, () => {
  let etcd: EtcdCluster;
  /** On etcd itself: who looks, and comes in between. */
  let other: FullEtcdDriver;
  const proxies: CutProxy[] = [];
  const ends: (() => Promise<void>)[] = [];
  before(async () => {
    etcd = await startEtcd(folder);
    other = await started(etcd.endpoints);
  });
  after(async () => {
    for (const end of ends.toReversed()) await end();
    for (const proxy of proxies) proxy.close();
    await etcd?.stop();
  });

  async function started(endpoints: readonly string[]): Promise<FullEtcdDriver> {
    const lazy = lazyDriver(etcdDriver, { endpoints, reserve: '20s' });
    ends.push(() => lazy.end().catch(() => undefined));
    return (await lazy.get()) as FullEtcdDriver;
  }

  for (const ways of [1, 2]) {
    describe(`with ${ways === 1 ? 'one way' : 'two ways'} to the server`, () => {
      let a: FullEtcdDriver;
      let own: CutProxy[];
      before(async () => {
        own = await Promise.all(Array.from({ length: ways }, () => startCutProxy(etcd.endpoints[0] ?? '')));
        proxies.push(...own);
        a = await started(own.map(({ endpoint }) => endpoint));
      });

      const cuts = (): number => own.reduce((sum, proxy) => sum + proxy.cuts, 0);

      /** Does it while the next request that has `text` in it is cut; gives what came of it. */
      async function cut<Result>(text: string, work: () => Promise<Result>): Promise<Result | undefined> {
        // The watches of what is held have begun.
        await new Promise((resolve) => setTimeout(resolve, 400));
        const before = cuts();
        const disarm = (): void => own.forEach((proxy) => proxy.cutAfter('never sent'));
        for (const proxy of own) proxy.cutAfter(text, disarm);
        try {
          return await work();
        } catch (error) {
          assert.ok(isHoldfastError(error) && error.code.startsWith('CLUSTER_'), String(error));
          return undefined;
        } finally {
          assert.ok(cuts() > before, 'nothing was cut');
          disarm();
        }
      }

      /** Until the chores are done that were left. */
      const later = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, laterMs));

      const holders = async (one: Resource): Promise<number> => (await other.holders(one)).length;

      async function requireNotLost({ lost }: Grant): Promise<void> {
        const said = await Promise.race([
          lost,
          new Promise<undefined>((resolve) => setTimeout(() => resolve(undefined), 300)),
        ]);
        assert.equal(said, undefined);
      }

      /** It becomes free, and who gets it then keeps it. */
      async function requireFreeForOthers(one: Resource): Promise<void> {
        let next: Grant | undefined;
        await until(async () => {
          next = await other.acquire(clusterOwner('next'), requests(one), { signal }).catch(() => undefined);
          return next !== undefined;
        }, `${one.label} to be free`);
        await later();
        assert.equal(await holders(one), 1, 'what others have got stays theirs');
        if (next !== undefined) await requireNotLost(next);
        if (next !== undefined) await other.release(next);
      }

      test('release', async () => {
        const x = networkDisk();
        const grant = await a.acquire(clusterOwner('guest'), requests(x), { signal });
        await cut(keyOf(x), () => a.release(grant));
        await requireFreeForOthers(x);
      });

      test('shrink', async () => {
        const [x, y] = [networkDisk(), networkDisk()];
        const grant = await a.acquire(clusterOwner('guest'), requests(x, y), { signal });
        await cut(keyOf(y), () => a.shrink(grant, [y.identity]));
        await requireFreeForOthers(y);
        assert.equal(await holders(x), 1);
        await requireNotLost(grant);
        await a.release(grant);
      });

      test('reserve: it stays reserved for the same guest', async () => {
        const x = networkDisk();
        const guest = clusterOwner('guest');
        const grant = await a.acquire(guest, requests(x), { signal });
        const done = await cut(keyOf(x), () => a.reserve(grant, [x.identity]));
        if (done === undefined) return requireFreeForOthers(x);
        const third = await other
          .acquire(clusterOwner('third'), requests(x), { signal })
          .catch(() => undefined);
        assert.equal(third, undefined, 'nobody steps in');
        await other.release(await other.acquire(guest, requests(x), { signal }));
      });

      test('offer: the giver keeps its locks, and what was offered can be accepted', async () => {
        const x = networkDisk();
        const grant = await a.acquire(clusterOwner('guest'), requests(x), { signal });
        const offer = await cut('/offers/', () => a.offer(grant));
        assert.equal(await holders(x), 1);
        await requireNotLost(grant);
        if (offer !== undefined) {
          const taken = await other.accept(offer, clusterOwner('guest'), { signal });
          await a.release(grant);
          assert.equal(await holders(x), 1);
          await other.release(taken);
        } else await a.release(grant);
        await requireFreeForOthers(x);
      });

      test('accept: one of the two has the locks, and knows it', async () => {
        const x = networkDisk();
        const given = await other.acquire(clusterOwner('guest'), requests(x), { signal });
        const offer = await other.offer(given);
        const taken = await cut(keyOf(x), () => a.accept(offer, clusterOwner('guest'), { signal }));
        if (taken === undefined) {
          await later();
          const stays = await other.cancel(given, offer).then(
            () => true,
            () => false,
          );
          assert.equal(await holders(x), stays ? 1 : 0);
        } else {
          assert.equal(await holders(x), 1);
          await requireNotLost(taken);
          await other.release(given);
          assert.equal(await holders(x), 1, 'the giver gives back nothing that is not its own');
          await a.release(taken);
        }
        await other.release(given);
        await requireFreeForOthers(x);
      });

      test('suspend: others can have it', async () => {
        const x = networkDisk();
        const grant = await a.acquire(clusterOwner('guest'), requests(x), { signal });
        await cut(keyOf(x), () => a.suspend(grant));
        await requireFreeForOthers(x);
        await a.release(grant);
      });

      test('resume: what nobody else had is taken again, if not at once then later', async () => {
        const x = networkDisk();
        const grant = await a.acquire(clusterOwner('guest'), requests(x), { signal });
        await a.suspend(grant);
        let again = await cut(keyOf(x), () => a.resume(grant, { signal }));
        if (again === undefined) await later();
        again ??= await a.resume(grant, { signal });
        assert.equal(await holders(x), 1);
        await later();
        assert.equal(await holders(x), 1);
        await requireNotLost(again);
        await a.release(again);
        await requireFreeForOthers(x);
      });

      test('resume, and then nothing can be asked for a while: it is taken again all the same', async () => {
        const x = networkDisk();
        const grant = await a.acquire(clusterOwner('guest'), requests(x), { signal });
        await a.suspend(grant);
        const shut = (isShut: boolean): void => own.forEach((proxy) => (proxy.open = !isShut));
        const first = await cut(keyOf(x), () => {
          const resuming = a.resume(grant, { signal });
          shut(true);
          return resuming;
        });
        shut(false);
        // By the other way it could find out at once.
        let again = first;
        await until(async () => {
          again ??= await a.resume(grant, { signal }).catch((error: unknown) => {
            if (!isHoldfastError(error) || !error.code.startsWith('CLUSTER_')) throw error;
            return undefined;
          });
          return again !== undefined;
        }, 'it to be taken again');
        await later();
        assert.equal(await holders(x), 1);
        if (again !== undefined) await a.release(again);
        await requireFreeForOthers(x);
      });

      test('break: it hits who was meant, and nobody who comes after', async () => {
        const x = networkDisk();
        const dead = await other.acquire(clusterOwner('dead'), requests(x), { signal });
        let next: Grant | undefined;
        const comes = (async () => {
          await until(async () => {
            next = await other.acquire(clusterOwner('next'), requests(x), { signal }).catch(() => undefined);
            return next !== undefined;
          }, 'the next one');
        })();
        await cut('it was switched off', () => a.breakLock(x, 'it was switched off')).catch(() => undefined);
        // Not done, or not by then: asked for again, as somebody does who is told that it failed.
        if ((await holders(x)) === 1 && next === undefined) await a.breakLock(x, 'it was switched off');
        await comes;
        await later();
        assert.equal(await holders(x), 1);
        if (next !== undefined) await requireNotLost(next);
        if (next !== undefined) await other.release(next);
        await other.release(dead);
      });
    });
  }
});
