/** `holdfast run --driver holdfastd` with a real daemon: who is kept out, how long, and what a kill of the daemon changes. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { DaemonHold } from '../../src/daemon-client/daemon-answers.js';
import { testLock } from '../../src/system/ofd-lock.js';
import { startApiDaemon, witnessesIn, type ApiDaemon } from '../beds/api-daemon.js';
import { call, commandFolder, holdfast, start, type Ended, type Running } from '../beds/command.js';
import { closingDescriptors } from '../beds/odd-commands.js';
import { end, rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const witnesses = join(folder, 'run', 'witnesses');
const config = join(folder, 'holdfast.toml');
const settings = ['--config', config];
const through = [...settings, '--driver', 'holdfastd'];

function configure(daemon: ApiDaemon, file = config): void {
  writeFileSync(file, `[driver.holdfastd]\nsocket = "${daemon.socket}"\n`);
}

async function runSleeping(...asked: readonly string[]): Promise<Running> {
  const script = 'echo started; exec sleep 1000';
  const running = start(holdfast, ['run', '-q', ...asked, '--', 'sh', '-c', script]);
  await running.says('started');
  return running;
}

async function isFree(path: string): Promise<boolean> {
  return (await call(['run', '-q', ...settings, '--disk', path, '--', 'true'])).status === 0;
}

const untilFree = (path: string): Promise<void> => until(() => isFree(path), `${path} to be free`);

/** Looks all the time whether anybody could take the disk; `stop` gives how often it looked and how often it was free. */
function watchLock(path: string): { stop(): { looks: number; free: number } } {
  const fd = openSync(path, 'r');
  const seen = { looks: 0, free: 0 };
  let goesOn = true;
  const look = (): void => {
    if (!goesOn) return;
    seen.looks++;
    if (testLock(fd, 'write', 0) === undefined) seen.free++;
    setImmediate(look);
  };
  look();
  return {
    stop() {
      goesOn = false;
      closeSync(fd);
      return seen;
    },
  };
}

describe('run through holdfastd', () => {
  let daemon: ApiDaemon;
  before(async () => {
    daemon = await startApiDaemon(folder);
    configure(daemon);
  });
  after(() => daemon.stop());

  const holdOf = async (path: string): Promise<DaemonHold | undefined> =>
    (await daemon.client.holds()).find(({ requests }) => requests[0]?.resource.path === path);

  test('the command stands in the place of run, and keeps others out until it ends, whatever they lock through', async () => {
    const path = rawDisk(join(folder, 'disk'));
    const running = await runSleeping(...through, '--disk', path);
    for (const how of [through, settings]) {
      const refused = await call(['run', ...how, '--disk', path, '--', 'echo', 'ran']);
      assert.deepEqual([refused.status, refused.stdout], [75, '']);
      assert.match(refused.stderr, new RegExp(`^ {2}held by {3}\\w+ \\(pid ${running.pid},`, 'm'));
      assert.equal(refused.stderr.match(/held by/g)?.length, 1, refused.stderr);
      assert.match(refused.stderr, /^ {2}through {3}holdfastd \(fcntl\)$/m);
    }
    await end(running);
    await untilFree(path);
    await until(() => witnessesIn(witnesses).length === 0, 'the witness to be removed');
    assert.deepEqual(await daemon.client.holds(), []);
  });

  test('what fcntl holds is refused', async () => {
    const path = rawDisk(join(folder, 'reverse'));
    const running = await runSleeping(...settings, '--disk', path);
    const refused = await call(['run', ...through, '--disk', path, '--', 'echo', 'ran']);
    assert.deepEqual([refused.status, refused.stdout], [75, '']);
    assert.match(refused.stderr, new RegExp(`pid ${running.pid},`));
    await end(running);
  });

  test('it waits for what another hold of the daemon gives back', async () => {
    const path = rawDisk(join(folder, 'waited'));
    const running = await runSleeping(...through, '--disk', path);
    const waiting = start(holdfast, ['run', '--wait', ...through, '--disk', path, '--', 'echo', 'ran']);
    await waiting.says('waiting', 'stderr');
    await end(running);
    const { status, stdout } = await waiting.ended;
    assert.deepEqual([status, stdout], [0, 'ran\n']);
  });

  test('a command that is killed at once can be followed by the next one', async () => {
    const path = rawDisk(join(folder, 'one-after-another'));
    for (let round = 0; round < 3; round++) {
      const { status } = await call(['run', '-q', ...through, '--disk', path, '--', 'true']);
      assert.equal(status, 0, `round ${round}`);
    }
  });

  test('a daemon that is killed again and again: the disk is never free meanwhile', async () => {
    const path = rawDisk(join(folder, 'outlives'));
    const running = await runSleeping(...through, '--disk', path);
    const watch = watchLock(path);
    for (let round = 1; round <= 3; round++) {
      const pid = await daemon.daemonPid();
      await daemon.killDaemon();
      const refused = await call(['run', ...through, '--disk', path, '--', 'echo', 'ran']);
      assert.deepEqual([refused.status, refused.stdout], [75, ''], refused.stderr);
      assert.notEqual(await daemon.daemonPid(), pid);
    }
    const { looks, free } = watch.stop();
    assert.equal(free, 0, `free in ${free} of ${looks} looks`);
    assert.ok(looks > 100);
    await end(running);
    await untilFree(path);
  });

  test('asked while no daemon runs, the next one grants it', async () => {
    const path = rawDisk(join(folder, 'meanwhile'));
    await daemon.killDaemon();
    const { status, stdout } = await call(['run', ...through, '--disk', path, '--', 'echo', 'ran']);
    assert.deepEqual([status, stdout], [0, 'ran\n']);
  });

  test('what a command leaves running has the hold after it', async () => {
    const path = rawDisk(join(folder, 'left'));
    const script = 'sleep 1000 >/dev/null 2>&1 & echo $!';
    const { status, stdout } = await call([
      'run',
      '-q',
      ...through,
      '--disk',
      path,
      '--',
      'sh',
      '-c',
      script,
    ]);
    assert.equal(status, 0);
    await until(async () => (await holdOf(path))?.ownerEnded === true, 'the end of the owner');
    const refused = await call(['run', ...settings, '--disk', path, '--', 'echo', 'ran']);
    assert.deepEqual([refused.status, refused.stdout], [75, '']);
    assert.match(refused.stderr, new RegExp(`pid ${stdout.trim()},`), refused.stderr);
    process.kill(Number(stdout), 'SIGKILL');
    await untilFree(path);
  });

  test('a command that closes its descriptors keeps its hold', async () => {
    const path = rawDisk(join(folder, 'closing'));
    const command = closingDescriptors('echo started; exec sleep 1000');
    const running = start(holdfast, ['run', '-q', ...through, '--disk', path, '--', ...command]);
    await running.says('started');
    // Longer than the daemon takes to see that nobody has the witness.
    await new Promise((resolve) => setTimeout(resolve, 700));
    assert.equal(await isFree(path), false);
    await end(running);
    await untilFree(path);
  });

  test('nothing is left of a command that cannot be started', async () => {
    const path = rawDisk(join(folder, 'missing-command'));
    const failed = await call(['run', ...through, '--disk', path, '--', 'no-such-command']);
    assert.equal(failed.status, 127);
    assert.equal(await isFree(path), true);
  });

  test('a hold that is given back by hand is lost: a supervised command is stopped', async () => {
    const path = rawDisk(join(folder, 'taken-away'));
    const running = await runSleeping(...through, '--supervise', '--disk', path);
    const hold = await holdOf(path);
    const released = await call(['release', ...settings, hold?.id ?? '']);
    assert.equal(released.status, 0, released.stderr);
    const { status, stderr } = await running.ended;
    assert.equal(status, 74);
    assert.match(stderr, /the lock daemon (?:gave it back|does not know)/);
  });

  test('a kill of the daemon is no loss for a supervised command', async () => {
    const path = rawDisk(join(folder, 'supervised'));
    const running = await runSleeping(...through, '--supervise', '--disk', path);
    await new Promise((resolve) => setTimeout(resolve, 600));
    await daemon.killDaemon();
    await daemon.daemonPid();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    assert.equal(running.child.exitCode, null);
    running.child.kill('SIGTERM');
    await running.ended;
    await untilFree(path);
  });

  test(
    'another user is let in only as a member of the group, and then may look',
    { skip: lacks('root', 'setpriv') },
    async () => {
      const gid = readFileSync('/etc/group', 'utf8').match(
        /^(?<name>[a-z]\w*):[^:]*:(?<gid>[1-9]\d*):/m,
      )?.groups;
      const shared = await startApiDaemon(
        join(folder, 'shared'),
        ['--group', gid?.['name'] ?? ''],
        runtimeOf('shared'),
      );
      const file = join(folder, 'shared.toml');
      configure(shared, file);
      const path = rawDisk(join(folder, 'others'));
      for (const each of [folder, join(folder, 'shared'), dirname(shared.socket)]) chmodSync(each, 0o755);
      chmodSync(path, 0o666);
      const own = join(folder, 'nobody');
      mkdirSync(own, { mode: 0o700 });
      chownSync(own, 65534, 65534);
      const as = (groups: string, ...words: readonly string[]): Promise<Ended> => {
        const who = ['--reuid', '65534', '--regid', '65534', `--groups=${groups}`];
        return start('setpriv', [...who, holdfast, ...words], { env: { HOLDFAST_RUNTIME_DIR: own } }).ended;
      };
      const run = [
        'run',
        '--config',
        file,
        '--driver',
        'holdfastd',
        '--disk',
        path,
        '--',
        'echo',
        'ran',
      ] as const;
      const stranger = await as('65534', ...run);
      assert.deepEqual([stranger.status, stranger.stdout], [77, ''], stranger.stderr);
      assert.match(stranger.stderr, /holdfastd's socket .* may not be used/);
      const looking = await as(gid?.['gid'] ?? '', 'list', '--socket', shared.socket);
      assert.equal(looking.status, 0, looking.stderr);
      const refused = await as(gid?.['gid'] ?? '', ...run);
      assert.deepEqual([refused.status, refused.stdout], [77, ''], refused.stderr);
      assert.match(refused.stderr, /may look, and lock nothing/);
      await shared.stop();
    },
  );
});

/** There is one daemon for each runtime directory. */
function runtimeOf(name: string): string {
  const path = join(folder, `${name}-run`);
  mkdirSync(path, { mode: 0o700 });
  return path;
}

test('two daemons keep each other out', async () => {
  const daemons = [
    await startApiDaemon(join(folder, 'one')),
    await startApiDaemon(join(folder, 'two'), [], runtimeOf('two')),
  ];
  const path = rawDisk(join(folder, 'both'));
  const [one = [], two = []] = daemons.map((daemon, index) => {
    const file = join(folder, `${index}.toml`);
    configure(daemon, file);
    return ['--config', file, '--driver', 'holdfastd'];
  });
  const running = await runSleeping(...one, '--disk', path);
  const refused = await call(['run', ...two, '--disk', path, '--', 'echo', 'ran']);
  assert.deepEqual([refused.status, refused.stdout], [75, '']);
  await end(running);
  for (const daemon of daemons) await daemon.stop();
});

test('without a daemon nothing runs, and it is said how to start one', async () => {
  const file = join(folder, 'none.toml');
  writeFileSync(file, `[driver.holdfastd]\nsocket = "${join(folder, 'none.sock')}"\n`);
  const path = rawDisk(join(folder, 'none'));
  const failed = await call([
    'run',
    '--config',
    file,
    '--driver',
    'holdfastd',
    '--disk',
    path,
    '--',
    'echo',
    'ran',
  ]);
  assert.deepEqual([failed.status, failed.stdout], [69, '']);
  assert.match(failed.stderr, /holdfastd does not listen on .*none\.sock/);
  assert.match(failed.stderr, /holdfast serve/);
});

test('daemon and keeper are gone: after a while a supervised command is stopped; the next daemon has it again', async () => {
  const mortal = await startApiDaemon(join(folder, 'mortal'));
  const file = join(folder, 'mortal.toml');
  configure(mortal, file);
  const path = rawDisk(join(folder, 'mortal-disk'));
  const asked = ['--config', file, '--driver', 'holdfastd', '--disk', path];
  const supervised = await runSleeping(...asked, '--supervise');
  const alone = rawDisk(join(folder, 'mortal-alone'));
  const running = await runSleeping('--config', file, '--driver', 'holdfastd', '--disk', alone);
  await mortal.killBoth();
  const { status, stderr } = await supervised.ended;
  assert.equal(status, 74, stderr);
  assert.match(stderr, /neither it nor its keeper runs any longer/);
  const next = await startApiDaemon(join(folder, 'mortal'));
  const refused = await call(['run', ...settings, '--disk', alone, '--', 'echo', 'ran']);
  assert.deepEqual([refused.status, refused.stdout], [75, '']);
  await end(running);
  await untilFree(alone);
  await next.stop();
});
