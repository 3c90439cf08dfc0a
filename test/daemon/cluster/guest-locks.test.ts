/** What a guest has in a cluster, where the cluster or the runtime directory fails in between. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { GuestFiles } from '../../../src/daemon/cluster/guest-file.js';
import { GuestLocks } from '../../../src/daemon/cluster/guest-locks.js';
import type { LockdOwner } from '../../../src/daemon/lockd/lock-table.js';
import type { Guarantee } from '../../../src/driver/contract.js';
import { HoldfastError } from '../../../src/errors.js';
import type { ClusterDriver, Driver, Grant, LockRequest, Loss } from '../../../src/index.js';
import { processStartTime } from '../../../src/system/process.js';
import { privateFolder } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';

const folder = privateFolder();
let folders = 0;

const guarantee: Guarantee = {
  times: { loseAtMs: Infinity, killAtMs: Infinity, endMs: Infinity },
  onRenewal: () => () => undefined,
};

function request(identity: string): LockRequest {
  return { resource: { identity, label: identity }, mode: 'exclusive' } as unknown as LockRequest;
}

function grantOf(requests: readonly LockRequest[], lost?: Promise<Loss>): Grant {
  return { requests, descriptors: [], tokens: {}, guarantee, ...(lost === undefined ? {} : { lost }) };
}

/** A cluster in which all is well, but for `driver`. */
function clusterWith(driver: Partial<Driver>): ClusterDriver {
  return {
    about: {},
    driver: {
      acquire: (_owner: unknown, requests: readonly LockRequest[]) => Promise.resolve(grantOf(requests)),
      adopt: (_owner: unknown, requests: readonly LockRequest[]) => Promise.resolve(grantOf(requests)),
      ...driver,
    },
    owner: ({ name }: LockdOwner) => ({ name }),
    requests: (_guest: unknown, { path }: { readonly path: string }) => Promise.resolve([request(path)]),
    end: () => Promise.resolve(),
  } as unknown as ClusterDriver;
}

function newGuest(t: TestContext): { readonly child: ChildProcess; readonly owner: LockdOwner } {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  t.after(() => child.kill('SIGKILL'));
  const { pid = 0 } = child;
  const startTime = processStartTime(pid) ?? 0;
  return { child, owner: { uuid: '0'.repeat(32), name: 'web1', id: 1, pid, startTime } };
}

function newFolder(): string {
  return join(folder, `cluster${++folders}`);
}

test('what was given back while it was lost is given back at the second try where the first one fails', async (t) => {
  let lose: (loss: Loss) => void = () => undefined;
  const lost = new Promise<Loss>((resolve) => (lose = resolve));
  const shrunk: (readonly string[])[] = [];
  let granted = 0;
  const cluster = clusterWith({
    acquire: (_owner, requests) => Promise.resolve(grantOf(requests, lost)),
    extend: ({ requests }, _owner, more) => Promise.resolve(grantOf([...requests, ...more], lost)),
    resume: ({ requests }) => Promise.resolve(grantOf(requests)),
    shrink: ({ requests }, identities) => {
      shrunk.push(identities);
      if (shrunk.length === 1) throw new HoldfastError('CLUSTER_UNREACHABLE', 'it does not answer');
      return Promise.resolve(
        grantOf(requests.filter(({ resource }) => !identities.includes(resource.identity))),
      );
    },
  });
  const told: Loss[] = [];
  const locks = new GuestLocks(newGuest(t).owner, {
    cluster,
    files: new GuestFiles(newFolder()),
    granted: () => Promise.resolve(void granted++),
    lost: (_locks, loss) => told.push(loss),
  });
  for (const name of ['a', 'b']) await locks.take(name, () => Promise.resolve([request(name)]));
  lose({ reason: 'the lease ended', resources: [] });
  await until(() => told.length > 0, 'the loss to be told');
  await locks.giveBack('b');
  granted = 0;
  await assert.rejects(locks.retake(), { code: 'CLUSTER_UNREACHABLE' });
  assert.equal(granted, 0);
  await locks.retake();
  assert.deepEqual(shrunk, [['b'], ['b']]);
  assert.deepEqual(
    locks.grant?.requests.map(({ resource }) => resource.identity),
    ['a'],
  );
  assert.equal(granted, 1);
});
