/** Puts together what libvirt's locks need in a cluster, and the holds of the API where their locks end by themselves. */
import { join } from 'node:path';
import { openClusterDriver } from '../../index.js';
import type { DaemonLog } from '../log.js';
import type { DaemonOptions } from '../options.js';
import { ClusterLocks, requireAble, type ClusterEvent } from './cluster-locks.js';
import { GuestFiles } from './guest-file.js';
import { HoldGuard, type HoldGuardEvent } from './hold-guard.js';
import { scopeWords } from './guard-scope.js';
import { HostGuard, type GuardEvent } from './host-guard.js';

const levels = {
  lost: 'error',
  'taken up': 'info',
  'not taken up yet': 'warn',
  'not given back yet': 'warn',
  'not understood': 'error',
  'not written': 'error',
  'server with a fault': 'warn',
  'server does not answer': 'warn',
  'left to the next daemon': 'warn',
  'guard ended': 'error',
  'guard ends with the service': 'warn',
  'guard acted': 'error',
  'guard not started': 'error',
  'guards not written': 'error',
  'hold left to the next daemon': 'warn',
  'owner stopped': 'error',
  'owner goes on': 'warn',
  'owner stays stopped': 'error',
  'guest goes on': 'warn',
  'guest stays stopped': 'error',
  'watchdog not fed': 'error',
} as const satisfies Record<ClusterEvent | GuardEvent | HoldGuardEvent, string>;

/**
 * Undefined: none of the daemon's drivers reaches a cluster. `directory`: the runtime directory. Throws what is wrong with a driver
 * or its settings; whether the cluster answers is seen at the first lock.
 */
export async function openCluster(
  { config, drivers, onLost, watchdog }: DaemonOptions,
  directory: string,
  log: DaemonLog,
): Promise<ClusterLocks | undefined> {
  const cluster = await openClusterDriver({
    drivers,
    ...(config === undefined ? {} : { configuration: config }),
  });
  if (cluster === undefined) return undefined;
  requireAble(cluster);
  const tell = teller(log);
  const guard = new HostGuard({
    file: join(directory, 'cluster-guards.json'),
    scope: scopeWords,
    ...(watchdog === undefined ? {} : { watchdog }),
    tell,
  });
  const files = new GuestFiles(join(directory, 'cluster'));
  return new ClusterLocks({ cluster, files, guard, onLost, tell });
}

/**
 * For the holds of the API, with whatever drivers. Its guard feeds no watchdog device: there is one device, and the guard of
 * libvirt's guests has it.
 */
export function openHoldGuard({ onLost }: DaemonOptions, directory: string, log: DaemonLog): HoldGuard {
  const tell = teller(log);
  const guard = new HostGuard({ file: join(directory, 'api-guards.json'), scope: scopeWords, tell });
  return new HoldGuard({ guard, onLost, tell });
}

function teller(log: DaemonLog): (what: keyof typeof levels, facts: object) => void {
  return (what, facts) => log[levels[what]](facts, `cluster: ${what}`);
}
