import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';
import {
  abilityMatrix,
  conformanceCases,
  driverConformance,
  runCases,
} from '../../src/driver/conformance.js';
import type { Driver, DriverFactory } from '../../src/driver/contract.js';
import memory from '../../src/drivers/memory/memory.js';
import nop from '../../src/drivers/nop/nop.js';
import { namedResource } from './named-resource.js';

/** The memory driver with some functions replaced: what the suite has to see. */
function spoilt(spoil: (driver: Driver) => Partial<Driver>): DriverFactory {
  const space = randomUUID();
  return {
    about: memory.about,
    start: async () => {
      const driver = await memory.start({ space });
      return { ...driver, ...spoil(driver) };
    },
  };
}

async function failures(factory: DriverFactory): Promise<string[]> {
  const suite = await driverConformance({ factory, makeResource: namedResource, patienceMs: 200 });
  const results = await runCases(suite);
  return results.filter(({ outcome }) => outcome === 'failed').map(({ name }) => name);
}

const slips: Record<string, { spoil: (driver: Driver) => Partial<Driver>; seenBy: string }> = {
  'keeps what it could get of a refused acquire': {
    spoil: (driver) => ({
      acquire: async (owner, requests, options) => {
        const parts = [];
        for (const request of requests) parts.push(await driver.acquire(owner, [request], options));
        const [first] = parts;
        if (first === undefined) return driver.acquire(owner, [], options);
        const whole = {
          ...first,
          requests,
          tokens: Object.assign({}, ...parts.map(({ tokens }) => tokens)) as Record<string, string>,
        };
        partsOf.set(whole, parts);
        return whole;
      },
      release: async (grant) => {
        for (const part of partsOf.get(grant) ?? []) await driver.release(part);
      },
    }),
    seenBy: 'nothing is left of an acquire that was refused',
  },
  'takes shared for read': {
    spoil: (driver) => ({
      acquire: (owner, requests, options) =>
        driver.acquire(
          owner,
          requests.map((request) => ({
            ...request,
            mode: request.mode === 'read' ? 'shared' : request.mode,
          })),
          options,
        ),
    }),
    seenBy: 'read is asked for while shared is held',
  },
  'says of everything that it is free': {
    spoil: () => ({ holders: async () => [] }),
    seenBy: 'holders sees who holds, from either side',
  },
  'never frees': {
    spoil: () => ({ release: async () => {} }),
    seenBy: 'release frees, and twice is no error',
  },
  'resumes whatever happened': {
    spoil: (driver) => ({
      suspend: (grant) => driver.release(grant),
      resume: (grant, options) => driver.acquire(someone, grant.requests, options),
    }),
    seenBy: 'resume is refused as LOST when somebody had it in between',
  },
  'gives the same token twice': {
    spoil: (driver) => ({
      acquire: async (owner, requests, options) => {
        const grant = await driver.acquire(owner, requests, options);
        const same = Object.fromEntries(Object.keys(grant.tokens).map((key) => [key, '1:1']));
        return Object.assign(grant, { tokens: same });
      },
    }),
    seenBy: 'fencing tokens grow with every grant',
  },
  'frees before the offer is accepted': {
    spoil: (driver) => ({
      offer: async (grant) => {
        const offer = await driver.offer?.(grant);
        await driver.release(grant);
        return offer ?? {};
      },
    }),
    seenBy: 'an offer stays held until it is accepted, then the receiver has it',
  },
  'probes by taking': {
    spoil: (driver) => ({
      probe: async (requests) => {
        const results = (await driver.probe?.(requests)) ?? [];
        for (const { free, identity } of results) {
          const request = requests.find(({ resource }) => resource.identity === identity);
          if (free && request !== undefined) await driver.acquire(someone, [request], { signal });
        }
        return results;
      },
    }),
    seenBy: 'probe tells free from held, and takes nothing',
  },
  'tells nobody of a broken lock': {
    spoil: (driver) => ({
      acquire: async (owner, requests, options) =>
        Object.assign(await driver.acquire(owner, requests, options), { lost: undefined }),
    }),
    seenBy: 'breakLock frees, and the holder is told of the loss',
  },
  'maps to a laxer mode': {
    spoil: () => ({ mapRequest: () => ({ can: true, mode: 'shared' }) }),
    seenBy: 'a mode is mapped to itself or to a stricter one',
  },
};

const partsOf = new WeakMap<object, Awaited<ReturnType<Driver['acquire']>>[]>();
const { signal } = new AbortController();
const someone = {
  kind: 'command',
  name: 'someone',
  uuid: randomUUID(),
  pid: 1,
  startTime: 1,
  host: 'here',
  hostId: '0',
} as const;

for (const [slip, { spoil, seenBy }] of Object.entries(slips)) {
  test(`the suite sees a driver that ${slip}`, async () => {
    assert.ok((await failures(spoilt(spoil))).includes(seenBy));
  });
}

test('a skip needs a reason, and a case that exists', async () => {
  const options = { factory: nop, makeResource: namedResource };
  const [name = ''] = conformanceCases;
  await assert.rejects(driverConformance({ ...options, skip: { [name]: ' ' } }), /without a reason/);
  await assert.rejects(driverConformance({ ...options, skip: { 'no such case': 'why not' } }), /has no case/);
  const suite = await driverConformance({ ...options, skip: { [name]: 'it is shy' } });
  assert.equal(suite.cases[0]?.skip, 'it is shy');
});

test('every case has a name of its own', () => {
  assert.equal(new Set(conformanceCases).size, conformanceCases.length);
});

test('the matrix has a column for each driver, and every skip and failure with its reason', async () => {
  const reports = [];
  for (const factory of [nop, spoilt(() => ({ holders: async () => [] }))]) {
    const suite = await driverConformance({ factory, makeResource: namedResource });
    reports.push({ suite, results: await runCases(suite) });
  }
  const matrix = abilityMatrix(reports);
  assert.match(matrix, /^driver +nop +memory$/m);
  assert.match(matrix, /^reach +none +process$/m);
  assert.match(matrix, /^offer\(\) +- +yes$/m);
  assert.match(matrix, /^holders +1 passed, 2 skipped +1 passed, 2 FAILED$/m);
  assert.match(matrix, /^nop skipped: reach is none: it keeps nobody out \(/m);
  assert.match(matrix, /^memory failed: it sees nobody \(holders sees who holds/m);
});

test('the other contender can be given', async () => {
  let given = 0;
  const space = randomUUID();
  const suite = await driverConformance({
    factory: memory,
    settings: { space },
    makeResource: namedResource,
    secondInstance: () => {
      given++;
      return memory.start({ space });
    },
  });
  const results = await runCases(suite);
  assert.deepEqual(
    results.filter(({ outcome }) => outcome === 'failed'),
    [],
  );
  assert.equal(given, results.filter(({ outcome }) => outcome === 'passed').length);
});
