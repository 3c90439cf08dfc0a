/** Sessions with a real cluster of three whose members and clients are stopped, killed, cut off and stuck on their disks. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, before, type TestContext } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { EtcdClient } from '../../../../src/drivers/etcd/client/etcd-client.js';
import { versionNote } from '../../../../src/drivers/etcd/version-note.js';
import { boottimeMs } from '../../../../src/system/boot-clock.js';
import {
  buildSessionUser,
  startSessionUser,
  type SessionUser,
  type SessionUserLine,
} from '../../../beds/etcd-session.js';
import { startEtcd, type EtcdCluster } from '../../../beds/etcd.js';
import { until } from '../../../beds/until.js';
import { lacks } from '../../../needs.js';

const skip = lacks('etcd');
const folder = mkdtempSync(join(tmpdir(), 'holdfast-session-'));
/** Longer than any lease here lives: 10 s, the whole again for an election, and half a second until it is noticed. */
const leaseMsMax = 30_000;
let program = '';
let etcd: EtcdCluster;
let client: EtcdClient;

before(async () => {
  if (skip !== false) return;
  program = await buildSessionUser(folder);
  etcd = await startEtcd(join(folder, 'etcd'), { size: 3 });
  client = await etcd.client({ callMs: 2_000 });
});
after(async () => {
  if (skip === false) await etcd.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function user(t: TestContext, endpoints: readonly string[]): Promise<SessionUser> {
  const started = await startSessionUser(program, endpoints);
  t.after(() => started.kill());
  // From here on the thread renews.
  await started.renewed(4);
  return started;
}

async function leader(): Promise<number> {
  let found = -1;
  await until(async () => {
    for (const [n] of etcd.members.entries()) {
      const status = await client.status({ endpoint: n }).catch(() => undefined);
      if (status?.header !== undefined && status.leader === status.header.memberId) found = n;
    }
    return found >= 0;
  }, 'etcd to have a leader');
  return found;
}

function notLost(...users: readonly SessionUser[]): void {
  for (const { lost } of users) assert.equal(lost, undefined);
}

/**
 * A leader that was stopped or stuck, and goes on, may take leases for expired that its successor has renewed, and have them
 * revoked: a version with that fault may take a session away then, and says by the deletion that it did.
 */
async function goesOn(renewed: () => Promise<unknown>): Promise<void> {
  const { version } = await client.status();
  if (versionNote(version) === undefined) await renewed();
  else await renewed().catch((error: Error) => assert.match(error.message, /was deleted by/));
}

async function becomesLost(one: SessionUser): Promise<SessionUserLine> {
  await until(() => one.lost !== undefined, 'a session to be lost', leaseMsMax);
  return one.lost as SessionUserLine;
}

/** When somebody else could have its locks: its mark is gone, as a majority sees it. */
async function passes({ markKey }: SessionUser, among = client): Promise<number> {
  await until(
    async () => {
      const found = await among.range({ key: markKey, countOnly: true }).catch(() => undefined);
      return found?.count === 0;
    },
    `${markKey} to go`,
    leaseMsMax,
  );
  return boottimeMs();
}

/** A way to a server that can be cut: nothing passes any more, and nobody is told. */
async function cuttableWay(t: TestContext, endpoint: string): Promise<{ endpoint: string; cut(): void }> {
  const sockets = new Set<Socket>();
  let isCut = false;
  const server: Server = createServer((from) => {
    const to = connect(Number(new URL(endpoint).port), '127.0.0.1');
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => sockets.delete(one));
      one.on('data', (bytes) => {
        if (!isCut) other.write(bytes);
      });
    }
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut: () => (isCut = true),
  };
}

test('a busy main thread loses nothing: another one renews', { skip }, async (t) => {
  const one = await user(t, etcd.endpoints);
  one.ask('block 9000');
  await until(() => one.lines.some(({ said }) => said === 'blocked'), 'it to go on');
  const times = one.lines.find(({ said }) => said === 'blocked') as SessionUserLine;
  assert.ok(times.loseAtMs > times.atMs, 'it is certain beyond the moment in which it goes on');
  await one.renewed(1);
  notLost(one);
});

test(
  'a leader that is stopped: no loss, and none when it goes on, but with a version that revokes leases then',
  { skip },
  async (t) => {
    const one = await user(t, etcd.endpoints);
    const stopped = etcd.members[await leader()];
    // Asks it first, and it alone.
    const first = await user(t, [
      stopped?.endpoint ?? '',
      ...etcd.endpoints.filter((url) => url !== stopped?.endpoint),
    ]);
    stopped?.signal('SIGSTOP');
    try {
      await Promise.all([one.renewed(12), first.renewed(12)]);
    } finally {
      stopped?.signal('SIGCONT');
    }
    await goesOn(() => Promise.all([one.renewed(3), first.renewed(3)]));
  },
);

test('a rolling restart, the leader too: no loss', { skip }, async (t) => {
  const users = [await user(t, etcd.endpoints), await user(t, etcd.endpoints.toReversed())];
  for (const [n, member] of etcd.members.entries()) {
    await member.kill();
    await Promise.all(users.map((one) => one.renewed(2)));
    await member.start();
    await until(
      async () =>
        (await client.range({ key: 'ready' }, { endpoint: n }).catch(() => undefined)) !== undefined,
      'a member to be back',
    );
    await Promise.all(users.map((one) => one.renewed(2)));
  }
  notLost(...users);
});

test('one endpoint of three is gone from the start: no loss', { skip }, async (t) => {
  const nobody = createServer();
  await once(nobody.listen(0, '127.0.0.1'), 'listening');
  const dead = `http://127.0.0.1:${(nobody.address() as AddressInfo).port}`;
  nobody.close();
  const one = await user(t, [dead, ...etcd.endpoints.slice(1)]);
  await one.renewed(6);
  notLost(one);
});

test('a client that is cut off loses in time, before its lease passes', { skip }, async (t) => {
  const ways = await Promise.all(etcd.endpoints.map((endpoint) => cuttableWay(t, endpoint)));
  const one = await user(
    t,
    ways.map(({ endpoint }) => endpoint),
  );
  for (const way of ways) way.cut();
  const passing = passes(one);
  const lost = await becomesLost(one);
  const passedMs = await passing;
  assert.ok(lost.atMs < lost.killAtMs, 'it is told before it would be killed');
  assert.ok(lost.endMs < passedMs, `it ends ${passedMs - lost.endMs} ms before its lease passes`);
  assert.match(lost.reason ?? '', /no renewal was confirmed/);
});

test(
  'a process that was stopped past its deadline has lost, whatever the answers say',
  { skip },
  async (t) => {
    const one = await user(t, etcd.endpoints);
    process.kill(one.pid, 'SIGSTOP');
    await until(() => boottimeMs() > one.last.loseAtMs + 100, 'its deadline to pass');
    process.kill(one.pid, 'SIGCONT');
    const lost = await becomesLost(one);
    assert.equal(lost.loseAtMs <= lost.atMs, true);
  },
);

test('a mark that somebody deletes is a loss', { skip }, async (t) => {
  const one = await user(t, etcd.endpoints);
  await client.txn({ compare: [], success: [{ delete: { key: one.markKey } }], failure: [] });
  const lost = await becomesLost(one);
  assert.match(lost.reason ?? '', /deleted|gone/);
  assert.ok(lost.atMs < lost.loseAtMs, 'at once, and not when the deadline is over');
});

test('a lease that is revoked is a loss', { skip }, async (t) => {
  const one = await user(t, etcd.endpoints);
  await client.leaseRevoke(BigInt(`0x${one.markKey.split('/').at(-1)}`));
  const lost = await becomesLost(one);
  assert.ok(lost.atMs < lost.loseAtMs, 'at once, and not when the deadline is over');
});

test('a session that is given back is gone from etcd', { skip }, async (t) => {
  const one = await user(t, etcd.endpoints);
  one.ask('end');
  await passes(one);
  notLost(one);
});

test(
  'a leader that is stuck on its disk answers keepalives, and confirms nothing',
  { skip: lacks('etcd', 'root', 'losetup', 'mkfs.ext4') },
  async (t) => {
    const place = join(folder, 'stuck');
    const mounts: string[] = [];
    let frozen: string | undefined;
    const thaw = (): void => {
      if (frozen !== undefined) execFileSync('fsfreeze', ['--unfreeze', frozen]);
      frozen = undefined;
    };
    let cluster: EtcdCluster | undefined;
    // In this order: what is frozen can neither be ended nor unmounted.
    t.after(async () => {
      thaw();
      await cluster?.stop();
      for (const mount of mounts) execFileSync('umount', ['--lazy', mount]);
    });
    for (const name of ['m0', 'm1', 'm2']) {
      const [image, mount] = [join(folder, `${name}.img`), join(place, name)];
      writeFileSync(image, '');
      truncateSync(image, 512 * 1024 * 1024);
      execFileSync('mkfs.ext4', ['-q', image]);
      mkdirSync(mount, { recursive: true });
      execFileSync('mount', ['-o', 'loop', image, mount]);
      mounts.push(mount);
    }
    cluster = await startEtcd(place, { size: 3 });
    const asking = await cluster.client({ callMs: 2_000 });
    let stuck = -1;
    for (const n of cluster.members.keys()) {
      const { header, leader: led } = await asking.status({ endpoint: n });
      if (header?.memberId === led) stuck = n;
    }
    const alone = await user(t, [cluster.members[stuck]?.endpoint ?? '']);
    const all = await user(t, cluster.endpoints);
    const lease = BigInt(`0x${alone.markKey.split('/').at(-1)}`);
    // It gets stuck when it has something to write.
    const writing = setInterval(() => {
      void asking
        .put({ key: 'busy', value: '' }, { endpoint: stuck, timeoutMs: 1_000 })
        .catch(() => undefined);
    }, 200);
    t.after(() => clearInterval(writing));
    frozen = mounts[stuck] ?? '';
    execFileSync('fsfreeze', ['--freeze', frozen]);

    const others = cluster.endpoints.filter((_, n) => n !== stuck);
    const passing = passes(alone, await cluster.client({ callMs: 2_000, endpoints: others }));
    const lost = await becomesLost(alone);
    // What makes it dangerous: the answers still come, and say that the lease lives.
    const kept = await asking.leaseKeepAlive(lease, { endpoint: stuck, timeoutMs: 2_000 });
    assert.ok(kept.ttl > 0, 'the leader that is stuck answers');
    const passedMs = await passing;
    assert.ok(lost.atMs < lost.killAtMs, 'it is told before it would be killed');
    assert.ok(lost.endMs < passedMs, `it ends ${passedMs - lost.endMs} ms before its lease passes`);
    await goesOn(() => all.renewed(2));
    thaw();
    await wait(1_000);
    await goesOn(() => all.renewed(2));
  },
);
