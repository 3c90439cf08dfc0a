/** All holds of a cluster, and how one of its locks is broken. */
import { resolve } from 'node:path';
import type { ClusterHold, Driver } from '../driver/contract.js';
import { HoldfastError } from '../errors.js';
import { isoTime } from '../system/clock.js';
import { hostName } from '../system/host.js';
import { userName } from '../system/user-name.js';
import type { Resource } from '../vocabulary.js';
import type { StartedDriver } from './driver-chain.js';

/** Why a lock may be broken though its lease is not over: somebody answers for it. */
export interface DeathOfHost {
  /** By name or id. */
  readonly host: string;
  /** How that is known. */
  readonly because: string;
}

/** A lock that was broken. */
export interface BrokenLock {
  readonly identity: string;
  readonly label: string;
  /** Whose it was. */
  readonly holders: readonly Omit<ClusterHold, 'locks'>[];
}

/** Throws `UNSUPPORTED` if no driver reaches a cluster, `CLUSTER_...`. */
export async function holdsInCluster(started: readonly StartedDriver[]): Promise<readonly ClusterHold[]> {
  const driver = started.find((one) => one.driver.clusterHolds !== undefined)?.driver;
  if (driver?.clusterHolds === undefined) throw noCluster(started, 'list the holds of a cluster');
  return driver.clusterHolds();
}

/**
 * Breaks the locks of one resource: `name` is a label or an identity, as `holdsInCluster` gives them. Nobody holds it: undefined.
 * Throws `IN_USE` where a holder's lease goes on that is not of the dead host, `USAGE` if several resources are called so,
 * `UNSUPPORTED`, `CLUSTER_...`.
 */
export async function breakInCluster(
  started: readonly StartedDriver[],
  name: string,
  death: DeathOfHost | undefined,
): Promise<BrokenLock | undefined> {
  const driver = started.find((one) => one.driver.breakLock !== undefined)?.driver;
  if (driver?.breakLock === undefined) throw noCluster(started, 'break a lock');
  const found = await named(driver, name);
  if (found === undefined) return undefined;
  const { identity, label } = found;
  const resource: Resource = { kind: 'disk', identity, label, storage: 'name', scope: 'cluster' };
  const who = `${userName(process.getuid?.() ?? 0)} on ${hostName()}, ${isoTime()}`;
  const evidence =
    death === undefined
      ? `the lease of its holder is gone (${who})`
      : `host ${death.host} is dead: ${death.because} (${who})`;
  await driver.breakLock(resource, evidence, death === undefined ? {} : { deadHost: death.host });
  return found;
}

async function named(driver: Driver, name: string): Promise<BrokenLock | undefined> {
  const path = resolve(name);
  const found = new Map<string, BrokenLock>();
  for (const { locks, ...holder } of (await driver.clusterHolds?.()) ?? []) {
    for (const { identity, label, mode } of locks) {
      if (mode === 'waiting' || (![identity, label].includes(name) && label !== path)) continue;
      const holders = [...(found.get(identity)?.holders ?? []), holder];
      found.set(identity, { identity, label, holders });
    }
  }
  const [only, ...others] = found.values();
  if (others.length === 0) return only;
  throw new HoldfastError(
    'USAGE',
    `${name} is the name of ${found.size} things that are locked in the cluster`,
    {
      remedy: `Name one by its identity: ${[...found.keys()].join(', ')}.`,
    },
  );
}

function noCluster(started: readonly StartedDriver[], what: string): HoldfastError {
  const names = started.map(({ about }) => about.name).join(', ');
  return new HoldfastError('UNSUPPORTED', `the drivers in use (${names}) cannot ${what}`, {
    remedy: 'Name one that reaches a cluster: --driver etcd, or `drivers` in the configuration.',
  });
}
