/** What a guest has in a cluster, where the cluster or the runtime directory fails in between. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { ClusterLocks } from '../../../src/daemon/cluster/cluster-locks.js';
import { GuestFiles } from '../../../src/daemon/cluster/guest-file.js';
import { GuestLocks } from '../../../src/daemon/cluster/guest-locks.js';
import type { HostGuard } from '../../../src/daemon/cluster/host-guard.js';
import type { Lock, LockdOwner } from '../../../src/daemon/lockd/lock-table.js';
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
    notWritten: (_locks, error) => assert.fail(String(error)),
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

describe('a daemon that takes up what the one before had', () => {
  interface Bed {
    readonly child: ChildProcess;
    readonly path: string;
    readonly told: readonly string[];
    readonly guarded: readonly number[];
    readonly takeUp: Promise<void>;
    readonly dismissed: () => boolean;
  }

  /** @param prepare what is done to the folder of the files before it begins */
  function takeUp(
    t: TestContext,
    driver: Partial<Driver>,
    prepare: (path: string) => void = () => undefined,
  ): Bed {
    const { child, owner } = newGuest(t);
    const at = newFolder();
    const files = new GuestFiles(at);
    files.write(owner, new Map([[' /d1', [request('/d1')]]]));
    const path = join(at, `${owner.pid}-${owner.startTime}.json`);
    prepare(path);
    const told: string[] = [];
    const guarded: number[] = [];
    let dismissed = false;
    const guard = {
      add: ([wish]: readonly { readonly process: { readonly pid: number } }[]) => {
        guarded.push(wish?.process.pid ?? 0);
        return Promise.resolve();
      },
      remove: () => undefined,
      dismissBefore: () => (dismissed = true),
      leave: () => undefined,
    } as unknown as HostGuard;
    const locks = new ClusterLocks({
      cluster: clusterWith(driver),
      files,
      guard,
      onLost: 'poweroff',
      tell: (what) => told.push(what),
    });
    t.after(() => locks.end());
    const lock = { lockspace: '', name: '/d1', shared: false, survived: true, owners: [owner] };
    const over = locks.takeUp([lock as unknown as Lock]);
    return { child, path, told, guarded, takeUp: over, dismissed: () => dismissed };
  }

  const isEnded = ({ exitCode, signalCode }: ChildProcess): boolean =>
    exitCode !== null || signalCode !== null;

  test('a runtime directory that takes no file any more costs no guest its life: it is held, guarded, and told', async (t) => {
    // What stands there cannot be written over, as little as in a file system without space.
    const bed = takeUp(t, {}, (path) => mkdirSync(`${path}.new`));
    await bed.takeUp;
    assert.deepEqual(bed.told, ['not written', 'taken up']);
    assert.deepEqual(bed.guarded, [bed.child.pid]);
    assert.ok(bed.dismissed());
    assert.ok(!isEnded(bed.child));
  });

  test('a fault that says nothing of who has the lock is not the last word', async (t) => {
    let tries = 0;
    const bed = takeUp(t, {
      adopt: (_owner, requests) => {
        if (++tries === 1) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
        return Promise.resolve(grantOf(requests));
      },
    });
    await bed.takeUp;
    assert.deepEqual(bed.told, ['not taken up yet', 'taken up']);
    assert.ok(!isEnded(bed.child));
  });

  test('what somebody else has by now ends the guest', async (t) => {
    const bed = takeUp(t, { adopt: () => Promise.reject(new HoldfastError('LOST', 'web2 has it')) });
    await bed.takeUp;
    assert.deepEqual(bed.told, ['lost']);
    await until(() => isEnded(bed.child), 'the guest to be ended');
  });
});

test('what was given back is in no file where that cannot be written', async (t) => {
  const { owner } = newGuest(t);
  const at = newFolder();
  const files = new GuestFiles(at);
  const told: unknown[] = [];
  const locks = new GuestLocks(owner, {
    cluster: clusterWith({
      extend: ({ requests }, _owner, more) => Promise.resolve(grantOf([...requests, ...more])),
      shrink: ({ requests }) => Promise.resolve(grantOf(requests.slice(0, 1))),
    }),
    files,
    granted: () => Promise.resolve(),
    lost: () => assert.fail('nothing was lost'),
    notWritten: (_locks, error) => told.push(error),
  });
  for (const name of ['a', 'b']) await locks.take(name, () => Promise.resolve([request(name)]));
  const inTheWay = join(at, `${owner.pid}-${owner.startTime}.json.new`);
  mkdirSync(inTheWay);
  await locks.giveBack('b');
  assert.equal(told.length, 1);
  assert.deepEqual(files.readAll().guests, []);
  rmSync(inTheWay, { recursive: true });
  await locks.take('b', () => Promise.resolve([request('b')]));
  assert.deepEqual([...(files.readAll().guests[0]?.things.keys() ?? [])], ['a', 'b']);
});
