import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defineDriver, type Driver, type DriverFactory, type Grant } from '../../src/driver/contract.js';
import { HoldfastError, isHoldfastError } from '../../src/errors.js';
import { DriverChain } from '../../src/manager/driver-chain.js';
import { modes, type LockRequest } from '../../src/vocabulary.js';
import { namedResource } from '../beds/file-resource.js';
import { owner } from '../driver/named-resource.js';

const request: LockRequest = { resource: namedResource('a'), mode: 'exclusive' };
const self = owner('self');

/** A driver that writes down what is asked of it. */
function recording(
  name: string,
  log: string[],
  change: Partial<Driver> = {},
  supports = modes,
): DriverFactory {
  return defineDriver(
    { name, reach: 'host', modes: supports, guarantees: [], doesNotGuarantee: [], supervise: false },
    (): Driver => ({
      async acquire(_owner, requests): Promise<Grant> {
        log.push(`${name} acquire ${requests.map(({ mode }) => mode).join()}`);
        return { requests, descriptors: [], tokens: {} };
      },
      async release() {
        log.push(`${name} release`);
      },
      holders: async () => [],
      ...change,
    }),
  );
}

async function acquireAll(
  chain: DriverChain,
  requests: readonly LockRequest[],
  signal = new AbortController().signal,
) {
  return chain.acquire(self, (await chain.assign(requests)).shares, { signal });
}

test('drivers are asked in order and give back in reverse', async () => {
  const log: string[] = [];
  const chain = new DriverChain([recording('one', log), recording('two', log)], {});
  await chain.release((await acquireAll(chain, [request])).added);
  assert.deepEqual(log, ['one acquire exclusive', 'two acquire exclusive', 'two release', 'one release']);
});

test('if the second refuses, the first gives back', async () => {
  const log: string[] = [];
  const refusing = recording('two', log, {
    acquire: () => Promise.reject(new HoldfastError('IN_USE', 'no')),
  });
  const chain = new DriverChain([recording('one', log), refusing], {});
  await assert.rejects(acquireAll(chain, [request]), (error) => isHoldfastError(error, 'IN_USE'));
  assert.deepEqual(log, ['one acquire exclusive', 'one release']);
});

test('a grant that comes after the caller gave up is released, before the chain ends', async () => {
  const log: string[] = [];
  let grantNow: (grant: Grant) => void = () => assert.fail('acquire was not called');
  const slow = recording('slow', log, {
    acquire: () => new Promise((resolve) => (grantNow = resolve)),
  });
  const chain = new DriverChain([slow], {});
  const abort = new AbortController();
  const { shares } = await chain.assign([request]);
  const acquiring = chain.acquire(self, shares, { signal: abort.signal });
  abort.abort(new Error('enough'));
  await assert.rejects(
    acquiring,
    (error) => isHoldfastError(error, 'ABORTED') && /enough/.test(error.message),
  );
  assert.deepEqual(log, []);
  grantNow({ requests: [request], descriptors: [], tokens: {} });
  await chain.end();
  assert.deepEqual(log, ['slow release']);
});

test('a grant without all that was asked for is given back, and the driver called broken', async () => {
  const log: string[] = [];
  const stingy = recording('stingy', log, {
    acquire: async () => ({ requests: [], descriptors: [], tokens: {} }),
  });
  const chain = new DriverChain([stingy], {});
  await assert.rejects(acquireAll(chain, [request]), (error) => isHoldfastError(error, 'DRIVER_BROKEN'));
  assert.deepEqual(log, ['stingy release']);
});

test('an extension grows the grant where the driver can, and is taken out again if another refuses', async () => {
  const log: string[] = [];
  const growing: Partial<Driver> = {
    async extend(grant, _owner, requests) {
      log.push('extend');
      return { ...grant, requests: [...grant.requests, ...requests] };
    },
    async shrink(grant, identities) {
      log.push(`shrink ${identities.join()}`);
      return {
        ...grant,
        requests: grant.requests.filter(({ resource }) => !identities.includes(resource.identity)),
      };
    },
  };
  let refuses = false;
  const second = recording('two', log, {
    acquire: async (_owner, requests) => {
      if (refuses) throw new HoldfastError('IN_USE', 'no');
      return { requests, descriptors: [], tokens: {} };
    },
  });
  const chain = new DriverChain([recording('one', log, growing), second], {});
  const { added: held } = await acquireAll(chain, [request]);
  const more: LockRequest = { resource: namedResource('b'), mode: 'exclusive' };
  const { shares } = await chain.assign([more]);
  const { signal } = new AbortController();
  const identities = (): readonly string[] | undefined =>
    held[0]?.grant.requests.map(({ resource }) => resource.identity);

  refuses = true;
  await assert.rejects(chain.acquire(self, shares, { signal }, held), (error) =>
    isHoldfastError(error, 'IN_USE'),
  );
  assert.deepEqual(identities(), ['a']);
  refuses = false;
  const { added } = await chain.acquire(self, shares, { signal }, held);
  assert.deepEqual(identities(), ['a', 'b']);
  assert.deepEqual(
    added.map(({ about }) => about.name),
    ['two'],
  );
  await chain.release([...held, ...added]);
  assert.deepEqual(log, [
    'one acquire exclusive',
    'extend',
    'shrink b',
    'extend',
    'two release',
    'two release',
    'one release',
  ]);
});

test('waiting ends as soon as a driver says so', async () => {
  const log: string[] = [];
  const told = recording('told', log, { wait: () => Promise.resolve() });
  const silent = recording('silent', log);
  const failing = recording('failing', log, { wait: () => Promise.reject(new Error('no queue')) });
  const { signal } = new AbortController();
  await new DriverChain([silent, failing, told], {}).wait(self, [request], signal);
  const never = new DriverChain([silent, failing], {}).wait(self, [request], signal);
  const outcome = await Promise.race([
    never,
    new Promise((resolve) => setTimeout(resolve, 50, 'still waiting')),
  ]);
  assert.equal(outcome, 'still waiting');
});

test('a mode that a driver does not know becomes exclusive, and is said', async () => {
  const log: string[] = [];
  const chain = new DriverChain([recording('coarse', log, {}, ['exclusive'])], {});
  const read: LockRequest = { ...request, mode: 'read' };
  const { notes } = await chain.assign([read]);
  assert.match(notes.join(), /coarse knows no mode 'read'/);
  await acquireAll(chain, [read]);
  assert.deepEqual(log, ['coarse acquire exclusive']);
});

test('what one driver cannot lock, another may; what none can is named with the reason', async () => {
  const log: string[] = [];
  const cannot: Partial<Driver> = {
    mapRequest: () => ({ can: false, reason: 'it is Sunday', remedy: 'wait' }),
  };
  const both = new DriverChain([recording('one', log, cannot), recording('two', log)], {});
  assert.deepEqual((await both.assign([request])).unlockable, []);
  const alone = new DriverChain([recording('one', log, cannot)], {});
  const [unlockable] = (await alone.assign([request])).unlockable;
  assert.equal(unlockable?.reason, 'driver one: it is Sunday');
  assert.equal(unlockable?.remedy, 'wait');
});

test('a driver starts once for two first callers, and again after a start that failed', async () => {
  let starts = 0;
  const factory: DriverFactory = {
    about: { name: 'x', reach: 'host', modes, guarantees: [], doesNotGuarantee: [], supervise: false },
    start: async () => {
      starts++;
      await new Promise((resolve) => setImmediate(resolve));
      if (starts === 1) throw new Error('not yet');
      return {
        acquire: () => Promise.reject(new Error()),
        release: async () => undefined,
        holders: async () => [],
      };
    },
  };
  const chain = new DriverChain([factory], {});
  const first = await Promise.allSettled([chain.started(), chain.started()]);
  assert.deepEqual(
    first.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  assert.equal(starts, 1);
  await Promise.all([chain.started(), chain.started()]);
  assert.equal(starts, 2);
});
