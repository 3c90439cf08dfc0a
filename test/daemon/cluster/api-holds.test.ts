/** Holds of the API in a cluster: their owners end before anybody else can have what they had, whoever still runs. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { ApiClient, type ApiAnswer } from '../../beds/api-client.js';
import { startClusterHost, type ClusterHost } from '../../beds/cluster-host.js';
import { commandFolder, holdfast, start, type Running } from '../../beds/command.js';
import { startEtcd, type EtcdCluster } from '../../beds/etcd.js';
import { isAlive } from '../../beds/lockd.js';
import { until } from '../../beds/until.js';
import { guestXml } from '../../chaos/guest-xml.js';
import { lacks } from '../../needs.js';

const folder = commandFolder();
const ttl = 6;
/** Where nobody is to end while a daemon starts, which takes seconds on a busy machine. */
const longTtl = 10;

describe('a hold of the API in a cluster', { skip: lacks('root', 'unshare', 'etcd') }, () => {
  let etcd: EtcdCluster;
  let two: ClusterHost;
  let count = 0;
  const started: ClusterHost[] = [];
  const processes: ChildProcess[] = [];
  before(async () => {
    etcd = await startEtcd(folder);
    two = await startClusterHost(folder, 'hostb', { endpoints: etcd.endpoints, ttl, reserve: '0s' });
  });
  afterEach(async () => {
    for (const process of processes.splice(0)) process.kill('SIGKILL');
    for (const host of started.splice(0)) await host.stop();
  });
  after(async () => {
    await two?.stop();
    await etcd?.stop();
  });

  async function newHost(daemon = '', leaseSeconds = ttl): Promise<ClusterHost> {
    const host = await startClusterHost(folder, `hosta${++count}`, {
      endpoints: etcd.endpoints,
      ttl: leaseSeconds,
      reserve: '0s',
      daemon,
    });
    started.push(host);
    return host;
  }

  const socketOf = (host: ClusterHost): string => join(host.folder, 'run/api.sock');
  const apiOf = (host: ClusterHost): ApiClient => new ApiClient(socketOf(host));

  /** @param stubborn takes no notice of SIGTERM */
  async function newOwner(stubborn = true): Promise<ChildProcess & { readonly pid: number }> {
    const script = stubborn
      ? 'trap "" TERM; echo ready; while :; do sleep 1; done'
      : 'echo ready; exec sleep 600';
    const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
    processes.push(child);
    await once(child.stdout, 'data');
    return child as ChildProcess & { readonly pid: number };
  }

  function ask(host: ClusterHost, name: string, pid: number): Promise<ApiAnswer> {
    return apiOf(host).post('/v1/holds', { xml: xmlOf(name), owner: { name, uuid: randomUUID(), pid } });
  }

  const xmlOf = (disk: string): string => guestXml(disk, [{ disk, mode: 'exclusive' }]);

  async function take(host: ClusterHost, name: string, pid: number): Promise<string> {
    const answer = await ask(host, name, pid);
    assert.equal(answer.status, 201, answer.text);
    return (answer.data as { id: string }).id;
  }

  /** Whether the process still ran when another host got the disk. */
  async function isAliveWhenTaken(name: string, pid: number): Promise<boolean> {
    const thief = await newOwner();
    let alive = true;
    await until(
      async () => {
        const { status } = await ask(two, name, thief.pid);
        alive = isAlive(pid);
        return status === 201;
      },
      'another host to get it',
      60_000,
    );
    return alive;
  }

  const lives = ({ pid = 0 }: ChildProcess): boolean => isAlive(pid);
  const guardOf = (host: ClusterHost): number =>
    (
      JSON.parse(readFileSync(join(host.folder, 'run/api-guards.json'), 'utf8')) as {
        readonly pid: number;
      }[]
    ).at(-1)?.pid ?? 0;

  async function whileStopped(host: ClusterHost, work: () => Promise<void>): Promise<void> {
    const pids = [host.keeperPid, host.daemonPid()];
    for (const pid of pids) process.kill(pid, 'SIGSTOP');
    try {
      await work();
    } finally {
      for (const pid of pids) process.kill(pid, 'SIGCONT');
    }
  }

  test('etcd is away: owners are asked to end, and the stubborn killed; who has given back is left alone', async () => {
    const one = await newHost();
    const [mild, stubborn, other] = [await newOwner(false), await newOwner(), await newOwner()];
    await take(one, 'a1', mild.pid);
    await take(one, 'a2', stubborn.pid);
    const given = await take(one, 'a3', other.pid);
    assert.equal((await apiOf(one).ask('DELETE', `/v1/holds/${given}`)).status, 204);
    const ended = once(mild, 'exit');
    etcd.members[0]?.signal('SIGSTOP');
    await until(() => !lives(mild) && !lives(stubborn), 'the owners to end', 60_000);
    etcd.members[0]?.signal('SIGCONT');
    assert.deepEqual(await ended, [null, 'SIGTERM']);
    assert.equal(await isAliveWhenTaken('a2', stubborn.pid), false);
    assert.ok(lives(other));
  });

  test('the daemon and its keeper stand still: the owner ends, in whose name it is by then', async () => {
    const one = await newHost();
    const [first, second] = [await newOwner(), await newOwner()];
    const id = await take(one, 'b1', first.pid);
    const passed = await apiOf(one).post(`/v1/holds/${id}/hand-over`, { pid: second.pid });
    assert.equal(passed.status, 200, passed.text);
    await whileStopped(one, async () => assert.equal(await isAliveWhenTaken('b1', second.pid), false));
    assert.ok(lives(first), 'who had it before');
  });

  test('the daemon and its keeper are killed: the owner ends, and what it has started', async () => {
    const one = await newHost();
    const owner = await newOwner();
    await take(one, 'c1', owner.pid);
    await one.killBoth();
    assert.equal(await isAliveWhenTaken('c1', owner.pid), false);
  });

  test('the daemon is killed: the next one goes on with a guard of its own, and the owner is not touched', async () => {
    const one = await newHost('', longTtl);
    const owner = await newOwner(false);
    const id = await take(one, 'd1', owner.pid);
    for (let round = 0; round < 2; round++) {
      const guard = guardOf(one);
      await one.killDaemon();
      await until(() => !isAlive(guard), 'the guard before to end');
    }
    // Longer than the leases of those before lived.
    await pause(longTtl * 1000 + 1_000);
    assert.ok(lives(owner));
    assert.equal((await apiOf(one).get(`/v1/holds/${id}`)).status, 200);
    assert.equal((await ask(two, 'd1', process.pid)).status, 409);
    // It is on the next one's list.
    await whileStopped(one, async () => assert.equal(await isAliveWhenTaken('d1', owner.pid), false));
  });

  test('the daemon is killed while etcd is away: the guard that is left ends the owner', async () => {
    const one = await newHost();
    const owner = await newOwner();
    await take(one, 'e1', owner.pid);
    etcd.members[0]?.signal('SIGSTOP');
    process.kill(one.daemonPid(), 'SIGKILL');
    await until(() => !lives(owner), 'the owner to end', 60_000);
    etcd.members[0]?.signal('SIGCONT');
    assert.equal(await isAliveWhenTaken('e1', owner.pid), false);
  });

  test('etcd is away for a moment when the daemon is killed: the owner goes on', async () => {
    const one = await newHost('', longTtl);
    const owner = await newOwner();
    const id = await take(one, 'f1', owner.pid);
    const guard = guardOf(one);
    etcd.members[0]?.signal('SIGSTOP');
    process.kill(one.daemonPid(), 'SIGKILL');
    await pause(1_000);
    etcd.members[0]?.signal('SIGCONT');
    await until(() => !isAlive(guard), 'the guard before to end');
    assert.ok(lives(owner));
    assert.equal((await apiOf(one).get(`/v1/holds/${id}`)).status, 200);
  });

  test('a guard that is killed is replaced', async () => {
    const one = await newHost();
    const owner = await newOwner();
    await take(one, 'g1', owner.pid);
    const guard = guardOf(one);
    process.kill(guard, 'SIGKILL');
    await until(() => guardOf(one) !== guard && isAlive(guardOf(one)), 'another guard');
    await whileStopped(one, async () => assert.equal(await isAliveWhenTaken('g1', owner.pid), false));
  });

  test('one that is suspended ends nobody', async () => {
    const one = await newHost();
    const [paused, other] = [await newOwner(), await newOwner()];
    const id = await take(one, 'h1', paused.pid);
    await take(one, 'h2', other.pid);
    assert.equal((await apiOf(one).post(`/v1/holds/${id}/suspend`, {})).status, 200);
    await whileStopped(one, async () => assert.equal(await isAliveWhenTaken('h2', other.pid), false));
    assert.ok(lives(paused));
  });

  test('on_lost = "ignore": told of, and left alone', async () => {
    const one = await newHost('on_lost = "ignore"');
    const owner = await newOwner();
    await take(one, 'i1', owner.pid);
    await whileStopped(one, async () => assert.equal(await isAliveWhenTaken('i1', owner.pid), true));
  });

  const isStopped = (pid: number): boolean =>
    /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));

  async function whileEtcdIsAway(work: () => Promise<void>): Promise<void> {
    etcd.members[0]?.signal('SIGSTOP');
    try {
      await work();
    } finally {
      etcd.members[0]?.signal('SIGCONT');
    }
  }

  test('what is to become of the owner can be said: of each hold, and the domain says it too', async () => {
    const one = await newHost('on_lost = "pause"');
    const [ignored, paused, ended] = [await newOwner(), await newOwner(), await newOwner()];
    const owner = ({ pid }: { readonly pid: number }): object => ({ name: 'web', uuid: randomUUID(), pid });
    const answers = [
      await apiOf(one).post('/v1/holds', { xml: xmlOf('n1'), owner: owner(ignored), onLost: 'ignore' }),
      await apiOf(one).post('/v1/holds', { xml: xmlOf('n2'), owner: owner(paused) }),
      await apiOf(one).post('/v1/holds', {
        xml: xmlOf('n3').replace('<devices>', '<on_lockfailure>poweroff</on_lockfailure><devices>'),
        owner: owner(ended),
      }),
    ];
    for (const { status, text } of answers) assert.equal(status, 201, text);
    assert.deepEqual(
      answers.map(({ data }) => (data as { readonly onLost?: string }).onLost),
      ['ignore', undefined, 'poweroff'],
    );
    // The next one knows it as well.
    await one.killDaemon();
    const known = (await apiOf(one).get('/v1/holds')).data as readonly { readonly onLost?: string }[];
    assert.deepEqual(known.map(({ onLost }) => onLost ?? '').toSorted(), ['', 'ignore', 'poweroff']);
    await whileEtcdIsAway(async () => {
      await until(() => isStopped(paused.pid) && !lives(ended), 'one to be stopped, and one to end', 60_000);
      assert.ok(lives(ignored) && !isStopped(ignored.pid));
    });
    await until(() => !isStopped(paused.pid), 'it to go on', 60_000);
    assert.equal((await ask(two, 'n2', process.pid)).status, 409);
  });

  test('a command can be started again only by who stays beside it: the daemon refuses that', async () => {
    const one = await newHost();
    const owner = await newOwner();
    const wish = { xml: xmlOf('o1'), owner: { name: 'o1', uuid: randomUUID(), pid: owner.pid } };
    const refused = await apiOf(one).post('/v1/holds', { ...wish, onLost: 'restart' });
    assert.equal(refused.status, 501, refused.text);
    assert.match(refused.text, /cannot start a command again/);
    assert.equal((await apiOf(one).post('/v1/holds', { ...wish, onLost: 'burn' })).status, 400);
    assert.deepEqual((await apiOf(one).get('/v1/holds')).data, []);
    // Nothing of it is left.
    assert.equal((await apiOf(one).post('/v1/holds', { ...wish, onLost: 'poweroff' })).status, 201);
  });

  test('neither the daemon nor its keeper can be the owner', async () => {
    const one = await newHost();
    for (const pid of [1, one.daemonPid(), one.keeperPid]) {
      const answer = await ask(one, 'j1', pid);
      assert.equal(answer.status, 400, answer.text);
      assert.match(answer.text, /cannot hold locks of a cluster/);
    }
    assert.deepEqual((await apiOf(one).get('/v1/holds')).data, []);
  });

  function runOn(host: ClusterHost, name: string, script: string, more: readonly string[] = []): Running {
    const configuration = join(folder, `${name}.toml`);
    writeFileSync(configuration, `[driver.holdfastd]\nsocket = ${JSON.stringify(socketOf(host))}\n`);
    const xml = join(folder, `${name}.xml`);
    writeFileSync(xml, xmlOf(name));
    const words = ['run', '--config', configuration, '--driver', 'holdfastd', '--xml', xml, ...more];
    return start(holdfast, [...words, '--', 'sh', '-c', script]);
  }

  test('a command run in place ends before its lock does', async () => {
    const one = await newHost();
    const command = runOn(one, 'k1', 'trap "" TERM; echo ready; while :; do sleep 1; done');
    await command.says('ready');
    await one.killBoth();
    assert.equal(await isAliveWhenTaken('k1', command.pid), false);
    assert.equal(await command.exited, 128 + 9);
  });

  const looping = 'echo "start $$."; while :; do sleep 1; done';

  test("run in place: --on-lost is the daemon's to do", async () => {
    const one = await newHost();
    const refused = runOn(one, 'q1', looping, ['--on-lost', 'restart']);
    assert.notEqual(await refused.exited, 0);
    assert.match(refused.stderr, /cannot start a command again/);
    const command = runOn(one, 'q1', looping, ['--on-lost', 'pause']);
    await command.says('.\n');
    await whileEtcdIsAway(() => until(() => isStopped(command.pid), 'it to be stopped', 60_000));
    await until(() => !isStopped(command.pid), 'it to go on', 60_000);
    assert.equal((await ask(two, 'q1', process.pid)).status, 409);
    command.child.kill('SIGKILL');
    await command.exited;
  });

  test('a supervisor that pauses its command, and the daemon that stops both: all goes on when it is held again', async () => {
    const one = await newHost();
    const command = runOn(one, 'r1', looping, ['--supervise', '--on-lost', 'pause']);
    await command.says('.\n');
    const pid = Number(/start (\d+)/.exec(command.stdout)?.[1]);
    // It listens from half a second after its start on.
    await pause(2_000);
    await whileEtcdIsAway(() =>
      until(() => isStopped(pid) && isStopped(command.pid), 'both to stop', 60_000),
    );
    await until(() => !isStopped(command.pid) && !isStopped(pid), 'both to go on', 60_000);
    assert.equal((await ask(two, 'r1', process.pid)).status, 409);
    command.child.kill('SIGTERM');
    await command.exited;
  });

  test('a supervisor that hears of the loss has time to stop its command and to begin anew', async () => {
    // A twelfth of that is the time that it has, and a busy machine needs some.
    const one = await newHost('', 24);
    const more = ['--supervise', '--on-lost', 'restart'];
    const command = runOn(one, 'm1', 'echo "start $$."; exec sleep 600', more);
    const pids = (): number[] => [...command.stdout.matchAll(/start (\d+)/g)].map(([, pid]) => Number(pid));
    await command.says('.\n');
    const [first = 0] = pids();
    // It listens from half a second after its start on.
    await pause(2_000);
    etcd.members[0]?.signal('SIGSTOP');
    await until(() => !isAlive(first), 'its end', 60_000);
    etcd.members[0]?.signal('SIGCONT');
    await until(
      () => pids().length === 2,
      () =>
        `another start; it says: ${command.stderr}\n${one
          .log()
          .slice(-20)
          .map((line) => JSON.stringify(line))
          .join('\n')}`,
      60_000,
    );
    assert.equal((await ask(two, 'm1', process.pid)).status, 409);
    command.child.kill('SIGTERM');
    await command.exited;
  });

  for (const [name, daemon] of [
    ['l1', 'lives'],
    ['l2', 'is killed'],
  ] as const) {
    test(`what a command has left in the background ends before its lock does; the daemon ${daemon}`, async () => {
      const one = await newHost();
      const left = `setsid sh -c 'trap "" TERM; echo "left $$."; while :; do sleep 1; done' &`;
      const command = runOn(one, name, `${left} sleep 1`);
      await command.says('.\n');
      const pid = Number(/left (\d+)/.exec(command.stdout)?.[1]);
      await command.exited;
      assert.ok(isAlive(pid));
      assert.equal((await ask(two, name, process.pid)).status, 409);
      if (daemon === 'is killed') {
        await one.killDaemon();
        await until(() => isAlive(guardOf(one)), 'the next guard');
        await one.killBoth();
      } else {
        etcd.members[0]?.signal('SIGSTOP');
        await until(() => !isAlive(pid), 'its end', 60_000);
        etcd.members[0]?.signal('SIGCONT');
      }
      assert.equal(await isAliveWhenTaken(name, pid), false);
    });
  }
});
