/** What the driver does besides what every driver does, against a real etcd. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Grant } from '../../../src/driver/contract.js';
import { lazyDriver } from '../../../src/driver/started-driver.js';
import type { EtcdClient } from '../../../src/drivers/etcd/client/etcd-client.js';
import etcdDriver from '../../../src/drivers/etcd/etcd.js';
import { versionNote } from '../../../src/drivers/etcd/version-note.js';
import { isHoldfastError } from '../../../src/errors.js';
import type { ErrorCode, LockRequest, Mode, Owner, Resource } from '../../../src/vocabulary.js';
import { startEtcd, type EtcdCluster } from '../../beds/etcd.js';
import { clusterOwner, networkDisk, type FullEtcdDriver } from '../../beds/etcd-driver.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = privateRuntime();
const lacking = lacks('etcd');
const skip = { skip: lacking };
const signal = new AbortController().signal;
let cluster: EtcdCluster | undefined;
let beds = 0;
/** What was started, to be ended in reverse when all tests are over: a hook that is set inside a test ends with that test. */
const ends: (() => Promise<void>)[] = [];
after(async () => {
  const failed: unknown[] = [];
  for (const end of ends.toReversed()) {
    await end().catch((error: unknown) => {
      // On a busy machine etcd may answer too late: the lease of a driver that ends passes by itself then.
      if (!isHoldfastError(error, 'CLUSTER_UNREACHABLE')) failed.push(error);
    });
  }
  assert.deepEqual(failed, []);
});

async function bed(): Promise<EtcdCluster> {
  if (cluster === undefined) {
    const started = await startEtcd(join(folder, `bed-${++beds}`));
    ends.push(() => started.stop());
    cluster = started;
  }
  return cluster;
}

async function host(more: Readonly<Record<string, unknown>> = {}): Promise<FullEtcdDriver> {
  const { endpoints } = await bed();
  const lazy = lazyDriver(etcdDriver, { endpoints, ...more });
  ends.push(() => lazy.end());
  return (await lazy.get()) as FullEtcdDriver;
}

function requests(resources: readonly Resource[], mode: Mode = 'exclusive'): LockRequest[] {
  return resources.map((resource) => ({ resource, mode }));
}

async function codeOf(call: Promise<unknown>): Promise<ErrorCode> {
  const error: unknown = await call.then(
    () => assert.fail('it had to be refused'),
    (thrown: unknown) => thrown,
  );
  assert.ok(isHoldfastError(error), String(error));
  return error.code;
}

function etcdctl(...words: string[]): string {
  const options = ['--endpoints', cluster?.endpoints.join(',') ?? ''];
  const env = { PATH: process.env['PATH'], ETCDCTL_API: '3' };
  return execFileSync('etcdctl', [...options, ...words], { env, encoding: 'utf8' });
}

/** Asks and waits, as a manager does, until it is granted: who waits goes on while etcd does not answer. */
async function waitFor(driver: FullEtcdDriver, who: Owner, wanted: readonly LockRequest[]): Promise<Grant> {
  for (;;) {
    try {
      return await driver.acquire(who, wanted, { signal });
    } catch (error) {
      if (!isHoldfastError(error, 'IN_USE')) await passing(error);
    }
    await driver.wait(who, wanted, { signal }).catch(passing);
  }
}

async function passing(error: unknown): Promise<void> {
  if (!isHoldfastError(error, 'CLUSTER_UNREACHABLE') && !isHoldfastError(error, 'CLUSTER_NO_QUORUM'))
    throw error;
  await new Promise((resolve) => setTimeout(resolve, 50));
}

/** Until so many wait for it. */
async function untilWaiting(resource: Resource, count: number): Promise<void> {
  const client = await observer();
  const key = `holdfast/v1/locks/${resource.identity.replace('/', '%2F')}/waiting`;
  await until(
    async () =>
      (await client.range({ key: `${key}/`, rangeEnd: `${key}0`, countOnly: true })).count === count,
    `${count} to wait for ${resource.identity}`,
  );
}

let observing: Promise<EtcdClient> | undefined;
async function observer(): Promise<EtcdClient> {
  return (observing ??= (await bed()).client());
}

test('those who wait are served in the order in which they came', skip, async () => {
  const drivers = [await host(), await host()];
  const [first] = drivers;
  assert.ok(first !== undefined);
  const shared = networkDisk();
  const wanted = requests([shared]);
  const holder = await first.acquire(clusterOwner('holder'), wanted, { signal });
  const order: number[] = [];
  const waiting: Promise<void>[] = [];
  for (let n = 0; n < 6; n++) {
    const driver = drivers[n % 2] ?? first;
    const turn = async (): Promise<void> => {
      const grant = await waitFor(driver, clusterOwner(`w${n}`), wanted);
      order.push(n);
      await driver.release(grant);
    };
    waiting.push(turn());
    await untilWaiting(shared, n + 1);
  }
  await first.release(holder);
  await Promise.all(waiting);
  assert.deepEqual(order, [0, 1, 2, 3, 4, 5]);
});

test('nobody steps in before those who wait, and says whom it stands behind', skip, async () => {
  const [a, b] = [await host(), await host()];
  const base = networkDisk();
  const reader = await a.acquire(clusterOwner('reader'), requests([base], 'read'), { signal });
  const writing = waitFor(a, clusterOwner('writer'), requests([base]));
  await untilWaiting(base, 1);
  const error = await b
    .acquire(clusterOwner('late reader'), requests([base], 'read'), { signal })
    .catch((e: unknown) => e);
  assert.ok(isHoldfastError(error, 'IN_USE'));
  assert.deepEqual(
    error.holders.map(({ guest, does }) => [guest, does]),
    [['writer', ['waits for it']]],
  );
  await a.release(reader);
  const grant = await writing;
  await a.release(grant);
  await b.release(await b.acquire(clusterOwner('late reader'), requests([base], 'read'), { signal }));
});

test('two who wait in each other\u2019s queues do not wait for ever', skip, async () => {
  const [a, b] = [await host(), await host()];
  const [x, y] = [networkDisk(), networkDisk()];
  const [holdsX, holdsY] = [
    await a.acquire(clusterOwner('has x'), requests([x]), { signal }),
    await a.acquire(clusterOwner('has y'), requests([y]), { signal }),
  ];
  // One is refused for x and queues there, the other one for y; both want both.
  const done: string[] = [];
  const want = async (driver: FullEtcdDriver, name: string): Promise<void> => {
    const grant = await waitFor(driver, clusterOwner(name), requests([x, y]));
    done.push(name);
    await driver.release(grant);
  };
  const one = want(a, 'one');
  const two = want(b, 'two');
  await untilWaiting(x, 2);
  await a.release(holdsY);
  await a.release(holdsX);
  await Promise.all([one, two]);
  assert.equal(done.length, 2);
});

test('who gives up waiting holds nobody up', skip, async () => {
  const [a, b] = [await host(), await host()];
  const shared = networkDisk();
  const holder = await a.acquire(clusterOwner('holder'), requests([shared]), { signal });
  const stop = new AbortController();
  const waiting = b.wait(clusterOwner('impatient'), requests([shared]), { signal: stop.signal });
  await untilWaiting(shared, 1);
  stop.abort();
  assert.equal(await codeOf(waiting), 'ABORTED');
  await untilWaiting(shared, 0);
  await a.release(holder);
  await a.release(await a.acquire(clusterOwner('next'), requests([shared]), { signal }));
});

test('waiting survives the end of the server and the compaction of what it watches', skip, async () => {
  const own = await startEtcd(join(folder, `bed-${++beds}`));
  ends.push(() => own.stop());
  const [a, b] = [
    await host({ endpoints: own.endpoints, ttl: 60 }),
    await host({ endpoints: own.endpoints, ttl: 60 }),
  ];
  const shared = networkDisk();
  const holder = await a.acquire(clusterOwner('holder'), requests([shared]), { signal });
  const waiting = waitFor(b, clusterOwner('waits'), requests([shared]));
  const client = await own.client();
  const queue = { key: 'holdfast/v1/locks/', rangeEnd: 'holdfast/v1/locks0', countOnly: true };
  await until(async () => (await client.range(queue)).count === 2, 'a ticket');
  const [member] = own.members;
  await member?.kill();
  await member?.start();
  await until(
    () =>
      a.release(holder).then(
        () => true,
        () => false,
      ),
    'the release',
  );
  await until(async () => (await client.range(queue).catch(() => undefined))?.count === 1, 'the grant');
  await b.release(await waiting);
});

test(
  'a token is the id of the cluster and the revision, and the same for all locks of a grant',
  skip,
  async () => {
    const a = await host();
    const [x, y] = [networkDisk(), networkDisk()];
    const { tokens, guarantee, notes } = await a.acquire(clusterOwner('guest'), requests([x, y]), { signal });
    const [one = '', two = ''] = [tokens[x.identity], tokens[y.identity]];
    assert.match(one, /^[0-9a-f]+:\d+$/);
    assert.equal(one, two);
    const { header } = await (await observer()).range({ key: 'k' });
    assert.equal(one.split(':')[0], header?.clusterId.toString(16));
    assert.ok((guarantee?.times.loseAtMs ?? 0) < (guarantee?.times.killAtMs ?? 0));
    assert.ok((guarantee?.times.killAtMs ?? 0) < (guarantee?.times.endMs ?? 0));
    for (const note of notes ?? []) assert.match(note, /^etcd 3\./);
  },
);

test('a key that somebody deletes is a loss at once, and one that was broken says why', skip, async () => {
  const a = await host();
  const [x, y] = [networkDisk(), networkDisk()];
  const first = await a.acquire(clusterOwner('one'), requests([x]), { signal });
  etcdctl('del', '--prefix', `holdfast/v1/locks/${x.identity.replace('/', '%2F')}/`);
  assert.deepEqual((await first.lost)?.resources, [x.label]);
  assert.equal(await codeOf(a.offer(first)), 'LOST');
  await a.release(first);

  const second = await a.acquire(clusterOwner('two'), requests([y]), { signal });
  const b = await host();
  assert.equal(await codeOf(b.breakLock(y, '  ')), 'USAGE');
  await b.breakLock(y, 'the rack burned down at 12:05');
  assert.match((await second.lost)?.reason ?? '', /the rack burned down at 12:05/);
  const log = etcdctl('get', '--prefix', 'holdfast/v1/breaks/');
  assert.match(log, /the rack burned down at 12:05/);
  assert.match(log, /"name":"two"/);
  const next = await b.acquire(clusterOwner('three'), requests([y]), { signal });
  const revision = (grant: Grant): number => Number(grant.tokens[y.identity]?.split(':')[1]);
  assert.ok(revision(next) > revision(second));
  await b.release(next);
});

test('a lease that is revoked is a loss, and the next lock has another', skip, async () => {
  const a = await host({ ttl: 2 });
  const [x, y] = [networkDisk(), networkDisk()];
  const grant = await a.acquire(clusterOwner('guest'), requests([x]), { signal });
  const lease = /"lease":(\d+)/.exec(
    etcdctl('get', '-w', 'json', '--prefix', `holdfast/v1/locks/${x.identity.replace('/', '%2F')}/`),
  )?.[1];
  etcdctl('lease', 'revoke', BigInt(lease ?? 0).toString(16));
  // Even before the session has noticed.
  const next = await a.acquire(clusterOwner('other'), requests([y]), { signal });
  assert.deepEqual((await grant.lost)?.resources, [x.label]);
  await a.release(grant);
  assert.equal((await a.holders(y)).length, 1);
  await a.release(next);
});

test('a lock that goes while it is offered is lost, not handed over', skip, async () => {
  const a = await host();
  const x = networkDisk();
  const grant = await a.acquire(clusterOwner('guest'), requests([x]), { signal });
  const { offer = '' } = await a.offer(grant);
  etcdctl('del', `holdfast/v1/offers/${offer}`);
  etcdctl('del', '--prefix', `holdfast/v1/locks/${x.identity.replace('/', '%2F')}/`);
  assert.deepEqual((await grant.lost)?.resources, [x.label]);
  await a.release(grant);
});

test(
  'a handover: nobody gets it in between, the giver has nothing to lose, and an offer ends with its giver',
  skip,
  async () => {
    const [a, b] = [await host(), await host()];
    const disks = [networkDisk(), networkDisk()].toSorted((x, y) => (x.identity < y.identity ? -1 : 1));
    const given = await a.acquire(clusterOwner('guest'), requests(disks), { signal });
    const offer = await a.offer(given);
    let stolen = 0;
    let over = false;
    const thief = (async () => {
      while (!over) {
        await b.acquire(clusterOwner('thief'), requests(disks), { signal }).then(
          () => (stolen += 1),
          () => undefined,
        );
      }
    })();
    const taken = await b.accept(offer, clusterOwner('guest'), { signal });
    over = true;
    await thief;
    assert.equal(stolen, 0);
    assert.equal(await codeOf(a.cancel(given, offer)), 'ENDED');
    assert.equal(await codeOf(a.offer(given)), 'ENDED');
    const lost = await Promise.race([
      given.lost?.then(() => 'lost'),
      new Promise((end) => setTimeout(end, 500, 'not')),
    ]);
    assert.equal(lost, 'not');
    const state = JSON.parse(await b.inquire(taken)) as { tokens: Record<string, string> };
    assert.deepEqual(state.tokens, taken.tokens);
    await b.release(taken);

    const dying = lazyDriver(etcdDriver, { endpoints: (await bed()).endpoints });
    const third = (await dying.get()) as FullEtcdDriver;
    const last = await third.offer(await third.acquire(clusterOwner('guest'), requests(disks), { signal }));
    await dying.end();
    assert.equal(await codeOf(b.accept(last, clusterOwner('guest'), { signal })), 'ENDED');
    assert.equal(await codeOf(b.accept({ offer: 'x' }, clusterOwner('guest'), { signal })), 'BAD_DATA');
  },
);

test('state that travels: the receiver is told whether anybody had it in between', skip, async () => {
  const [a, b, c] = [await host(), await host(), await host()];
  const disks = [networkDisk(), networkDisk()].toSorted((x, y) => (x.identity < y.identity ? -1 : 1));
  const wanted = requests(disks);
  const [first] = disks;
  assert.ok(first !== undefined);
  const guest = clusterOwner('guest');
  const receiver = { ...clusterOwner('guest'), uuid: guest.uuid };
  const given = async (): Promise<{ grant: Grant; state: string }> => {
    const grant = await a.acquire(guest, wanted, { signal });
    return { grant, state: await a.inquire(grant) };
  };
  const takes = async (state: string): Promise<void> => {
    await b.release(await b.acquire(receiver, wanted, { signal, state }));
  };

  // Nobody had it, though it was free for a moment; nor the giver himself, who has suspended, or shared it out again.
  const one = await given();
  await a.release(one.grant);
  await takes(one.state);
  const again = await given();
  await a.suspend(again.grant);
  const kept = await a.resume(again.grant, { signal });
  await a.suspend(kept);
  const suspended = await a.inquire(kept);
  await takes(suspended);
  await a.release(kept);
  const reserved = await given();
  await a.release(await a.reserve(reserved.grant, [first.identity]));
  await takes(reserved.state);

  // A third had one of them, and has given it back.
  const two = await given();
  await a.release(two.grant);
  await c.release(await c.acquire(clusterOwner('third'), requests([first]), { signal }));
  assert.equal(await codeOf(b.acquire(receiver, wanted, { signal, state: two.state })), 'LOST');
  for (const one of disks) assert.deepEqual(await c.holders(one), [], 'nothing is held after that');

  // The receiver of an offer is told the same: a third had it before the giver took it again.
  const three = await given();
  await a.release(three.grant);
  await c.release(await c.acquire(clusterOwner('third'), requests([first], 'read'), { signal }));
  const later = await given();
  const offer = await a.offer(later.grant);
  assert.equal(await codeOf(b.accept(offer, receiver, { signal, state: three.state })), 'LOST');
  const taken = await b.accept(offer, receiver, { signal, state: later.state });

  // What is no state, or says nothing of what is asked for.
  assert.equal(
    await codeOf(c.acquire(clusterOwner('x'), requests([networkDisk()]), { signal, state: '{}' })),
    'BAD_DATA',
  );
  const other = requests([networkDisk()]);
  assert.equal(await codeOf(c.acquire(clusterOwner('x'), other, { signal, state: later.state })), 'BAD_DATA');
  await b.release(taken);
});

test('state that travels: of a time that etcd has forgotten nobody can say who had it', skip, async () => {
  const [a, b] = [await host(), await host()];
  const wanted = requests([networkDisk()]);
  const held = await a.acquire(clusterOwner('guest'), wanted, { signal });
  const state = await a.inquire(held);
  await a.release(held);
  const client = await observer();
  const { header } = await client.range({ key: 'x' });
  etcdctl('put', 'elsewhere', 'x');
  etcdctl('compact', String((header?.revision ?? 0) + 1));
  assert.equal(await codeOf(b.acquire(clusterOwner('guest'), wanted, { signal, state })), 'LOST');
});

test(
  'a guest that was paused goes on before those who wait, and not where nobody knows who had its disk',
  skip,
  async () => {
    const [a, b] = [await host(), await host()];
    const [x, y] = [networkDisk(), networkDisk()];
    const grant = await a.acquire(clusterOwner('guest'), requests([x]), { signal });
    await a.suspend(grant);
    // Readers of the same disk come and go: that is somebody who had it.
    await b.release(await b.acquire(clusterOwner('reader'), requests([x], 'read'), { signal }));
    assert.equal(await codeOf(a.resume(grant, { signal })), 'LOST');

    const reader = await a.acquire(clusterOwner('reader'), requests([y], 'read'), { signal });
    await a.suspend(reader);
    await b.release(await b.acquire(clusterOwner('other reader'), requests([y], 'read'), { signal }));
    const again = await a.resume(reader, { signal });
    assert.equal((await b.holders(y)).length, 1);
    await a.release(again);
  },
);

test('a guest that exceeds the limit of a transaction is refused, and nothing is sent', skip, async () => {
  const a = await host({ max_operations: 8 });
  const disks = Array.from({ length: 8 }, networkDisk);
  assert.equal(await codeOf(a.acquire(clusterOwner('guest'), requests(disks), { signal })), 'CLUSTER_LIMIT');
  const probed = await a.probe(requests(disks));
  assert.ok(probed.every(({ free, error }) => !free && isHoldfastError(error, 'CLUSTER_LIMIT')));
  const grant = await a.acquire(clusterOwner('guest'), requests(disks.slice(0, 7)), { signal });
  assert.equal(await codeOf(a.offer(grant)), 'CLUSTER_LIMIT');
  await a.release(grant);
});

test('clusters of locks with other prefixes do not see each other', skip, async () => {
  const [a, b] = [await host(), await host({ prefix: 'other' })];
  const x = networkDisk();
  const one = await a.acquire(clusterOwner('a'), requests([x]), { signal });
  const two = await b.acquire(clusterOwner('b'), requests([x]), { signal });
  await a.release(one);
  assert.equal((await b.holders(x)).length, 1);
  await b.release(two);
});

test('a disk of an unknown file system is refused', skip, async () => {
  const a = await host();
  const mapped = a.mapRequest({
    resource: { ...networkDisk(), unknownFileSystem: 'strangefs' },
    mode: 'read',
  });
  assert.ok(!mapped.can && /strangefs/.test(mapped.reason) && mapped.remedy !== undefined);
});

test('what was held is free as soon as the driver ends', skip, async () => {
  const lazy = lazyDriver(etcdDriver, { endpoints: (await bed()).endpoints });
  const x = networkDisk();
  await (await lazy.get()).acquire(clusterOwner('guest'), requests([x]), { signal });
  await lazy.end();
  assert.deepEqual(await (await host()).holders(x), []);
});

test('versions with a fault are named', () => {
  assert.match(versionNote('3.4.23') ?? '', /3\.4\.31/);
  assert.match(versionNote('3.5.12') ?? '', /3\.5\.13/);
  assert.match(versionNote('3.3.25') ?? '', /older than 3\.4/);
  for (const version of ['3.4.31', '3.5.13', '3.6.0', '4.0.0', 'nonsense'])
    assert.equal(versionNote(version), undefined);
});
