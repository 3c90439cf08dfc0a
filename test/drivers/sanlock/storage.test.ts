/**
 * The storage of leases is lost: what becomes of the command and of all that it has started, as the table in docs/drivers.md says. Each
 * test is a host of its own, with an I/O timeout of 1 s, so that sanlock begins to end holders 8 s after its last renewal.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { readProcessStat } from '../../../src/system/process.js';
import { call, commandFolder, holdfast, start, type Running } from '../../beds/command.js';
import { startFailingStorage, type FailingStorage } from '../../beds/failing-storage.js';
import { makeLease, makeLockspace, startSanlock, type SanlockHost } from '../../beds/sanlock.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = commandFolder();
const skip = lacks('sanlock', 'fuse');
/** For all that happens some seconds after the storage is gone. */
const lossMsMax = 60_000;

interface Site {
  readonly host: SanlockHost;
  readonly storage: FailingStorage;
  /** What `--lease` takes. */
  readonly words: string;
  /** What sanlock's commands take, with the version of the lease. */
  readonly lease: (version: number) => string;
  readonly join: () => Promise<void>;
  readonly run: (options: readonly string[], script: string) => Running;
  /** Whether anybody has leases here. */
  readonly holds: () => Promise<boolean>;
}

/** A host whose storage can fail, joined to a lockspace. */
async function site(t: TestContext, graceS?: number): Promise<Site> {
  const own = join(folder, randomUUID().slice(0, 8));
  mkdirSync(own);
  const source = join(own, 'source');
  const { lease } = await makeLease(await makeLockspace(source, 'cluster'), 0);
  assert.ok(lease !== undefined);
  const storage = await startFailingStorage(source, join(own, 'leases'));
  t.after(() => storage.stop());
  const host = await startSanlock(own, 'alpha', graceS);
  t.after(() => host.stop());
  const words = `cluster:${lease.key}:${storage.path}:${lease.offset}`;
  const env = { ...host.env, HOLDFAST_RUNTIME_DIR: join(own, 'run'), HOLDFAST_TEST: join(folder, 'run') };
  const made: Site = {
    host,
    storage,
    words,
    lease: (version) => `${words}:${version}`,
    join: () => host.join({ lockspace: 'cluster', path: storage.path }, 1),
    run: (options, script) => {
      const args = ['run', '--driver=sanlock', `--lease=${words}`, ...options, '--', 'sh', '-c', script];
      const running = start(holdfast, args, { env });
      t.after(() => {
        running.child.kill('SIGKILL');
        for (const pid of pidsIn(running.stdout)) kill(pid);
      });
      return running;
    },
    holds: async () => /^r /m.test(await host.client('status')),
  };
  await made.join();
  return made;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

/** What scripts of these tests say of themselves: `pid N`. */
const pidsIn = (text: string): number[] => [...text.matchAll(/^pid (\d+)$/gm)].map(([, pid]) => Number(pid));
const stateOf = (pid: number): string => readProcessStat(pid)?.state ?? 'gone';
const isGone = (pid: number): boolean => ['gone', 'Z'].includes(stateOf(pid));
const isStopped = (pid: number): boolean => stateOf(pid) === 'T';

/** The command, one that has left its session and ignores SIGTERM, and their children. */
const family = `
  setsid sh -c 'trap "" TERM; echo pid $$; sleep 600 & wait; sleep 600' &
  echo pid $$
  echo ready
  sleep 600 & wait`;

describe('the storage of leases is lost', { skip, concurrency: true }, () => {
  test('errors, poweroff: the command and all that it has started end, and sanlock has nothing to kill', async (t) => {
    const { host, storage, run } = await site(t);
    const running = run([], family);
    await running.says('ready');
    await until(() => pidsIn(running.stdout).length === 2, 'both to run');
    await storage.fail();
    await until(() => pidsIn(running.stdout).every(isGone), 'all to be ended', lossMsMax);
    await until(() => host.log().includes('all pids clear'), 'sanlock to see it', lossMsMax);
    assert.match(host.log(), new RegExp(`kill ${running.pid} sig 100`), 'it did not run the program');
    assert.doesNotMatch(host.log(), /sig (9|15) /);
  });

  test('no answer, what a command left running: it ends too, though its pid is gone', async (t) => {
    const { host, storage, run } = await site(t);
    const running = run([], 'sh -c "echo pid \\$\\$; exec sleep 600" & sleep 0.2; exit 3');
    assert.equal(await running.exited, 3);
    await until(() => pidsIn(running.stdout).length === 1, 'it to run');
    storage.stall();
    await until(() => pidsIn(running.stdout).every(isGone), 'it to be ended', lossMsMax);
    await until(() => host.log().includes('all pids clear'), 'sanlock to see it', lossMsMax);
  });

  test('pause: all is stopped, the leases are given back, and nobody is killed; it goes on only in the same version', async (t) => {
    const { host, storage, join: joinAgain, lease, run, holds } = await site(t);
    const running = run(['--on-lost=pause'], family);
    await running.says('ready');
    await until(() => pidsIn(running.stdout).length === 2, 'both to run');
    storage.stall();
    await until(() => pidsIn(running.stdout).every(isStopped), 'all to be stopped', lossMsMax);
    await until(() => host.log().includes('all pids clear'), 'sanlock to see it', lossMsMax);
    assert.equal(await holds(), false);
    assert.doesNotMatch(host.log(), /sig (9|15) /);
    storage.answer();
    await until(
      async () => !/^s /m.test(await host.client('status')),
      'the lockspace to be let go of',
      lossMsMax,
    );
    await joinAgain();
    const again = (version: number): Promise<string> =>
      host.client('acquire', '-r', lease(version), '-p', String(running.pid));
    await assert.rejects(again(7), 'it was another version');
    await again(1);
    assert.equal(await holds(), true);
    assert.ok(pidsIn(running.stdout).every(isStopped));
  });

  test('beside the command, poweroff: it ends with 74, all below it before that', async (t) => {
    const { host, storage, run } = await site(t);
    const running = run(['--supervise'], family);
    await running.says('ready');
    await until(() => pidsIn(running.stdout).length === 2, 'both to run');
    await storage.fail();
    const { status, stderr } = await running.ended;
    assert.equal(status, 74, stderr);
    assert.match(stderr, /can no longer renew the leases/);
    assert.ok(pidsIn(running.stdout).every(isGone));
    assert.doesNotMatch(host.log(), /sig (9|15) /);
  });

  test('beside the command, pause: it goes on when the leases are had again in the same version', async (t) => {
    const { storage, host, join: joinAgain, run, holds } = await site(t);
    const running = run(['--supervise', '--on-lost=pause'], family);
    await running.says('ready');
    await until(() => pidsIn(running.stdout).length === 2, 'both to run');
    storage.stall();
    await until(() => pidsIn(running.stdout).every(isStopped), 'all to be stopped', lossMsMax);
    await until(async () => !(await holds()), 'the leases to be given back', lossMsMax);
    storage.answer();
    await until(
      async () => !/^s /m.test(await host.client('status')),
      'the lockspace to be let go of',
      lossMsMax,
    );
    await joinAgain();
    await until(holds, 'the leases to be taken again', lossMsMax);
    await until(() => !pidsIn(running.stdout).some(isStopped), 'all to go on');
    assert.doesNotMatch(host.log(), /sig (9|15) /);
  });

  test('a supervisor that does nothing: sanlock kills it when the time of grace is over', async (t) => {
    const { host, storage, run } = await site(t, 3);
    const running = run(['--supervise'], family);
    await running.says('ready');
    running.child.kill('SIGSTOP');
    await storage.fail();
    assert.equal(await running.exited, 128 + 9);
    assert.match(host.log(), new RegExp(`kill ${running.pid} sig 9`));
  });

  test('the daemon is killed: a command that runs alone goes on; with a supervisor it is ended', async (t) => {
    const [alone, beside] = await Promise.all([site(t), site(t)]);
    const [one, other] = [alone.run([], family), beside.run(['--supervise'], family)];
    for (const running of [one, other]) await running.says('ready');
    await Promise.all([alone.host.stop(), beside.host.stop()]);
    const { status, stderr } = await other.ended;
    assert.equal(status, 74, stderr);
    assert.match(stderr, /the sanlock daemon has ended/);
    assert.ok(pidsIn(other.stdout).every(isGone));
    assert.ok(!pidsIn(one.stdout).some(isGone));
  });

  test('an answer before the time is over: nothing happens', async (t) => {
    const { host, storage, run, holds } = await site(t);
    const running = run([], family);
    await running.says('ready');
    const renewedAt = async (): Promise<number> =>
      Number(/renewal_last_success=(\d+)/.exec(await host.client('status', '-D'))?.[1]);
    storage.stall();
    await until(() => host.log().includes('check_our_lease warning'), 'sanlock to wait', lossMsMax);
    const before = await renewedAt();
    storage.answer();
    await until(async () => (await renewedAt()) > before, 'a renewal', lossMsMax);
    assert.equal(await holds(), true);
    assert.equal(isGone(running.pid), false);
    assert.doesNotMatch(host.log(), /killing_pids/);
  });

  test('pause: the guest of a QEMU is paused from within', { skip: lacks('qemu') }, async (t) => {
    const { storage, run } = await site(t);
    const [told, watched] = [`${storage.path}.told`, `${storage.path}.watched`];
    const monitors = [told, watched].map((path) => `-qmp unix:${path},server=on,wait=off`).join(' ');
    const running = run(
      ['--on-lost=pause'],
      `echo pid $$; exec qemu-system-x86_64 -nodefaults -display none -accel tcg -m 16 ${monitors}`,
    );
    let said = '';
    await until(
      () =>
        new Promise((resolve) => {
          const socket = createConnection(watched);
          t.after(() => socket.destroy());
          socket.once('error', () => resolve(false));
          socket.once('connect', () => resolve(true));
          socket.on('data', (bytes: Buffer) => (said += bytes.toString()));
          socket.write('{"execute":"qmp_capabilities"}\n');
        }),
      'its second monitor',
    );
    await until(() => said.includes('"return"'), 'its answer');
    await storage.fail();
    await until(() => isStopped(running.pid), 'the process to be stopped', lossMsMax);
    process.kill(running.pid, 'SIGCONT');
    await until(() => said.includes('"event": "STOP"'), 'what it says of its guest');
    assert.doesNotMatch(said, /"event": "RESUME"/);
  });
});

test('an action for which nobody would be there is refused', async () => {
  const disk = join(folder, 'disk');
  writeFileSync(disk, '');
  const { status, stderr } = await call(['run', '--on-lost=pause', `--disk=${disk}`, '--', 'true']);
  assert.equal(status, 64);
  assert.match(stderr, /only with --supervise/);
});

describe('what sanlock cannot do is refused at the start', { skip: lacks('sanlock') }, () => {
  const file = join(folder, 'no-lease');
  writeFileSync(file, '');
  const lease = `--lease=cluster:disk1:${file}:1048576`;
  const command = ['--', 'echo', 'started'];

  for (const action of ['restart', 'ignore']) {
    test(`${action}, on the command line, supervised or not`, async () => {
      for (const how of [[], ['--supervise']]) {
        const asked = ['--driver=sanlock', ...how, `--on-lost=${action}`, lease];
        const { status, stdout, stderr } = await call(['run', ...asked, ...command]);
        assert.deepEqual([status, stdout], [69, ''], stderr);
        assert.match(stderr, new RegExp(`sanlock cannot ${action} .*\\(--on-lost=${action}\\)`));
        assert.match(stderr, /--on-lost=poweroff or --on-lost=pause/);
      }
    });

    test(`${action}, of the domain or the configuration; plan says so too, and the command line wins`, async () => {
      const xml = join(folder, `${action}.xml`);
      writeFileSync(
        xml,
        `<domain type='qemu'><name>web1</name><on_lockfailure>${action}</on_lockfailure><devices/></domain>`,
      );
      const config = join(folder, `${action}.toml`);
      writeFileSync(config, `on_lost = "${action}"\n`, { mode: 0o600 });
      const said = {
        [`--xml=${xml}`]: `<on_lockfailure>${action}</on_lockfailure> in the XML`,
        [`--config=${config}`]: `on_lost = "${action}" in the configuration`,
      };
      for (const [source, words] of Object.entries(said)) {
        for (const asked of [['run', ...command], ['plan']]) {
          const [verb = '', ...rest] = asked;
          const things = ['--driver=sanlock,fcntl', source, lease];
          const { status, stdout, stderr } = await call([verb, ...things, ...rest]);
          assert.deepEqual([status, stdout], [69, ''], stderr);
          assert.ok(stderr.includes(words), stderr);
          const wins = await call([verb, '--on-lost=pause', ...things, ...rest]);
          assert.doesNotMatch(wins.stderr, /sanlock cannot/);
        }
      }
    });
  }
});
