/** What a case of the conformance suite works with: two contenders, owners, resources, and a clean end. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { isHoldfastError } from '../errors.js';
import { processStartTime } from '../system/process.js';
import type { LockRequest, Mode, Owner, Resource } from '../vocabulary.js';
import type { ConformanceOptions } from './conformance.js';
import type { Driver, DriverAbout, Grant } from './contract.js';
import type { OptionalFunction } from './driver-shape.js';
import { lazyDriver } from './started-driver.js';

export interface CaseDefinition {
  readonly name: string;
  readonly ability: string;
  /** Functions without which there is nothing to see. */
  readonly needs?: readonly OptionalFunction[];
  /** It is about somebody being kept out, or seen. */
  readonly excludes?: boolean;
  readonly tokens?: boolean;
  readonly badSettings?: boolean;
  readonly run: (bench: Bench) => Promise<void>;
}

export interface Bench {
  readonly about: DriverAbout;
  readonly options: ConformanceOptions;
  /** Two managers' drivers, which contend. */
  readonly a: Driver;
  readonly b: Driver;
  /** A resource that no other case uses. */
  readonly resource: () => Promise<Resource>;
  /** Sorted by identity, as the manager sorts. */
  readonly resources: (count: number) => Promise<Resource[]>;
  readonly owner: (name: string) => Owner;
  /** Acquires; what is still held when the case ends is released then. */
  readonly acquire: (
    driver: Driver,
    owner: Owner,
    resources: readonly Resource[],
    mode?: Mode,
    signal?: AbortSignal,
  ) => Promise<Grant>;
  /** Notes a grant that another function gave, or one that took another's place. */
  readonly keep: (driver: Driver, grant: Grant, inPlaceOf?: Grant) => Grant;
  /** Asks, exclusively, and gives back at once: throws unless all the resources are free. */
  readonly assertFree: (driver: Driver, resources: readonly Resource[]) => Promise<void>;
  /** Asks, and requires a refusal as in use. */
  readonly assertInUse: (driver: Driver, resources: readonly Resource[], mode?: Mode) => Promise<void>;
  /** Fails with the message if the call does not come back: keeps a suite from hanging. */
  readonly inTime: <T>(call: Promise<T>, message: string) => Promise<T>;
  readonly close: () => Promise<void>;
}

/** A call that has to come back does so in far less. */
const patienceMsDefault = 30_000;

export const never: AbortSignal = new AbortController().signal;

export async function openBench(
  options: ConformanceOptions,
  makeResource: () => Promise<Resource>,
): Promise<Bench> {
  const { factory, settings } = options;
  const first = lazyDriver(factory, settings);
  const second = lazyDriver({
    about: factory.about,
    start: async () => (await options.secondInstance?.()) ?? factory.start(settings ?? {}),
  });
  const a = await first.get();
  const b = await second.get();
  const kept = new Map<Grant, Driver>();

  const acquire: Bench['acquire'] = async (driver, owner, resources, mode = 'exclusive', signal = never) => {
    const grant = await driver.acquire(owner, requestsFor(resources, mode), { signal });
    kept.set(grant, driver);
    return grant;
  };
  return {
    about: factory.about,
    options,
    a,
    b,
    resource: makeResource,
    resources: async (count) => {
      const list: Resource[] = [];
      for (let n = 0; n < count; n++) list.push(await makeResource());
      return list.toSorted((x, y) => (x.identity < y.identity ? -1 : 1));
    },
    owner: testOwner,
    acquire,
    keep: (driver, grant, inPlaceOf) => {
      if (inPlaceOf !== undefined) kept.delete(inPlaceOf);
      kept.set(grant, driver);
      return grant;
    },
    assertFree: async (driver, resources) => {
      await driver.release(
        await driver.acquire(testOwner('free?'), requestsFor(resources, 'exclusive'), { signal: never }),
      );
    },
    assertInUse: async (driver, resources, mode = 'exclusive') => {
      const error = await refusal(acquire(driver, testOwner('second'), resources, mode));
      assert.equal(error.code, 'IN_USE', `refused with ${error.code} (${error.message}), not IN_USE`);
    },
    inTime: (call, message) => settled(call, message, options.patienceMs ?? patienceMsDefault),
    close: async () => {
      for (const [grant, driver] of kept) await driver.release(grant);
      await first.end();
      await second.end();
    },
  };
}

export function requestsFor(resources: readonly Resource[], mode: Mode): LockRequest[] {
  return resources.map((resource) => ({ resource, mode }));
}

/** The error of a call that has to fail. */
export async function refusal(call: Promise<unknown>): Promise<{ code: string } & Error> {
  try {
    await call;
  } catch (error) {
    if (!isHoldfastError(error)) throw error;
    return error;
  }
  throw new assert.AssertionError({ message: 'it was granted, and had to be refused' });
}

async function settled<T>(call: Promise<T>, message: string, patienceMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new assert.AssertionError({ message })), patienceMs);
  });
  return Promise.race([call, late]).finally(() => clearTimeout(timer));
}

/** This process, under a name and uuid of its own. */
export function testOwner(name: string): Owner {
  return {
    kind: 'domain',
    name,
    uuid: randomUUID(),
    pid: process.pid,
    startTime: processStartTime(process.pid) ?? 0,
    host: hostname(),
    hostId: 'f'.repeat(32),
  };
}
