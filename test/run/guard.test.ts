/** A command under a lock that ends unless it is renewed: whatever happens to whom, nobody of it runs when that is over. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { descendantsOf, type Descendant } from '../../src/system/descendants.js';
import { readProcess } from '../../src/system/process.js';
import { commandFolder, endLeftProcesses, leftProcesses, start, type Running } from '../beds/command.js';
import {
  goneBefore,
  guardedRuns,
  isAlive,
  isStopped,
  processesOf,
  ttlMs,
  type RunProcesses,
} from '../beds/guarded-run.js';
import { daemonizing } from '../beds/odd-commands.js';
import { rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const runs = guardedRuns(folder, rawDisk(join(folder, 'disk.raw')));
afterEach(() => {
  endLeftProcesses();
  runs.clear();
});

/** Two that have left its session, of which one may be deaf; one of its own; and the shell. */
const scriptWith = (third: string): string =>
  `${daemonizing('exec sleep 1001')}; ${daemonizing(third)}\nsleep 1002 & echo up; wait`;
const deaf = scriptWith('trap "" TERM; exec sleep 1003');
/** All of it ends at once when it is told to, where a deaf one is waited for. */
const mild = scriptWith('exec sleep 1003');
const count = 4;
/** Closes all of its descriptors first, the locks' too. */
const closing = [
  'python3',
  '-c',
  'import os,sys; os.closerange(3, 500); os.execvp("sh", ["sh", "-c", sys.argv[1]])',
];

async function up(
  options: readonly string[] = [],
  script = deaf,
): Promise<{ running: Running; processes: RunProcesses }> {
  const running = runs.run(options, [...closing, script]);
  await running.says('up');
  return { running, processes: await processesOf(running, count) };
}

async function requireGone({ below }: RunProcesses): Promise<void> {
  const { marginMs } = await goneBefore(below, runs.endMs);
  assert.ok(marginMs > 0, `the last of them was gone ${-marginMs} ms too late`);
}

const argumentsOf = (pid: number): readonly string[] => readProcess(pid)?.argv ?? [];

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('as any supervised command', () => {
  test('its status, its output, its tokens, and nothing is left', async () => {
    for (const [text, status] of [
      ['exit 0', 0],
      ['exit 3', 3],
      ['kill -USR1 $$', 138],
    ] as const) {
      assert.equal((await runs.run([], ['sh', '-c', text]).ended).status, status, text);
    }
    const { stdout } = await runs.run([], ['sh', '-c', 'echo $HOLDFAST_TOKENS']).ended;
    assert.match(stdout, /^\{"[^"]+":"renewing:[^"]+"\}\n$/);
    assert.deepEqual(leftProcesses(), []);
  });

  test('a command that cannot be started', async () => {
    const missing = await runs.run([], ['no-such-command-anywhere']).ended;
    assert.equal(missing.status, 127, missing.stderr);
    const bad = join(folder, 'bad');
    writeFileSync(bad, `#!${join(folder, 'no-such-interpreter')}\n`, { mode: 0o755 });
    assert.equal((await runs.run([], [bad]).ended).status, 127);
    assert.deepEqual(leftProcesses(), []);
  });

  test('signals go on to it, and SIGTERM ends all that it has started', async () => {
    const heard = runs.run(
      [],
      ['sh', '-c', 'trap "echo heard; exit 42" USR1; echo up; while :; do sleep 0.01; done'],
    );
    await heard.says('up');
    heard.child.kill('SIGUSR1');
    assert.equal((await heard.ended).status, 42);
    const { running, processes } = await up();
    running.child.kill('SIGTERM');
    assert.equal(await running.exited, 128 + 15);
    assert.deepEqual(processes.below.filter(isAlive), []);
    assert.equal(isAlive(processes.guard), false);
  });

  test('a daemon that it leaves behind is waited for', async () => {
    const running = runs.run([], ['sh', '-c', `${daemonizing('sleep 1; echo done')}; exit 4`]);
    assert.deepEqual(await running.ended, { status: 4, stdout: 'done\n', stderr: '' });
  });

  test('as long as the lock is renewed nobody is touched, also where a renewal is late', async () => {
    const { running, processes } = await up([], mild);
    for (let round = 0; round < 3; round++) {
      await wait(ttlMs * 0.6);
      runs.stopRenewals(true);
      await wait(ttlMs * 0.15);
      runs.stopRenewals(false);
    }
    assert.equal(processes.below.filter(isAlive).length, count);
    running.child.kill('SIGTERM');
    assert.equal(await running.exited, 128 + 15);
  });
});

describe('poweroff', () => {
  const powers: Readonly<Record<string, (running: Running, processes: RunProcesses) => void>> = {
    'nothing is renewed any more': () => runs.stopRenewals(true),
    'the supervisor is killed while all is well': ({ pid }) => process.kill(pid, 'SIGKILL'),
    'the supervisor is stopped': ({ pid }) => process.kill(pid, 'SIGSTOP'),
    'the guard is stopped, and nothing is renewed': (_, { guard }) => {
      process.kill(guard.pid, 'SIGSTOP');
      runs.stopRenewals(true);
    },
    'the guard is killed, and nothing is renewed': (_, { guard }) => {
      process.kill(guard.pid, 'SIGKILL');
      runs.stopRenewals(true);
    },
    'the command was stopped': ({ pid }, { command }) => {
      process.kill(command.pid, 'SIGSTOP');
      process.kill(pid, 'SIGKILL');
    },
  };
  for (const [name, power] of Object.entries(powers)) {
    test(name, async () => {
      const { running, processes } = await up();
      power(running, processes);
      await requireGone(processes);
      await until(() => !isAlive(processes.guard), 'the end of the guard');
    });
  }

  test('a lock that is lost at once: 74, and the reason', async () => {
    const { running, processes } = await up();
    runs.lose();
    const { status, stderr } = await running.ended;
    assert.equal(status, 74);
    assert.match(stderr, /somebody wanted it/);
    assert.deepEqual(processes.below.filter(isAlive), []);
  });

  test('a supervisor that goes on after it was stopped says what has happened', async () => {
    const { running, processes } = await up();
    process.kill(running.pid, 'SIGSTOP');
    await requireGone(processes);
    process.kill(running.pid, 'SIGCONT');
    const { status, stderr } = await running.ended;
    assert.equal(status, 74, stderr);
  });

  test('the guard is killed while all is well: the command goes on, and its status is told', async () => {
    const running = runs.run([], ['sh', '-c', 'echo up; read x; exit 7']);
    await running.says('up');
    const { guard, command } = await processesOf(running, 1);
    process.kill(guard.pid, 'SIGKILL');
    await wait(ttlMs);
    assert.ok(isAlive(command));
    running.child.stdin?.end('\n');
    assert.equal((await running.ended).status, 7);
  });

  test('the guard is stopped and the command ends: its status is told', async () => {
    const running = runs.run([], ['sh', '-c', 'echo up; read x; exit 8']);
    await running.says('up');
    const { guard } = await processesOf(running, 1);
    process.kill(guard.pid, 'SIGSTOP');
    running.child.stdin?.end('\n');
    assert.equal((await running.ended).status, 8);
    assert.deepEqual(leftProcesses(), []);
  });

  test('a command whose processes nobody can count keeps its guard', async () => {
    // Each lives too short to be met by a walk over /proc: nobody seems to run.
    const forks = `import os, sys, time\nends = time.time() + 60\nos.write(1, b"up\\n")
while time.time() < ends:
    if os.fork(): os._exit(0)`;
    const running = runs.run([], ['python3', '-c', forks]);
    await running.says('up');
    const [guard] = descendantsOf(running.pid).filter(({ ppid }) => ppid === running.pid);
    assert.ok(guard !== undefined);
    await wait(3_000);
    assert.ok(isAlive(guard));
    process.kill(running.pid, 'SIGKILL');
    const { marginMs } = await goneBefore([guard], runs.endMs);
    assert.ok(marginMs > 0, `${-marginMs} ms too late`);
    assert.deepEqual(leftProcesses(), []);
  });

  const guardsOf = ({ pid }: Running, { below }: RunProcesses): readonly Descendant[] =>
    descendantsOf(pid).filter((one) => one.ppid === pid && !below.some((known) => known.pid === one.pid));

  /** A guard with a list has a descriptor of each process on it. */
  const hasOnList = (guard: number, pid: number): boolean => {
    const folder = `/proc/${guard}/fdinfo`;
    try {
      return readdirSync(folder).some((fd) =>
        readFileSync(join(folder, fd), 'latin1').includes(`\nPid:\t${pid}\n`),
      );
    } catch {
      return false; // One of its descriptors was just closed: the next look has all.
    }
  };

  for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
    test(`the guard is killed: there is another one, which acts when the supervisor gets ${signal} then`, async () => {
      const { running, processes } = await up();
      process.kill(processes.guard.pid, 'SIGKILL');
      const others = (): readonly Descendant[] =>
        guardsOf(running, processes).filter((one) => one.pid !== processes.guard.pid && isAlive(one));
      await until(() => others().length === 1, 'another guard');
      const [other] = others();
      await until(() => processes.below.every(({ pid }) => hasOnList(other?.pid ?? 0, pid)), 'its list');
      assert.equal(processes.below.filter(isAlive).length, count);
      process.kill(running.pid, signal);
      await requireGone(processes);
      if (signal === 'SIGSTOP') process.kill(running.pid, 'SIGCONT');
      await until(() => other !== undefined && !isAlive(other), 'its end');
      await running.exited;
    });
  }

  test('a guard that is killed again and again is not started again at once', async () => {
    const { running, processes } = await up([], mild);
    const killed = new Set([processes.guard.pid]);
    process.kill(processes.guard.pid, 'SIGKILL');
    const ends = Date.now() + 4_000;
    while (Date.now() < ends) {
      for (const { pid } of guardsOf(running, processes)) {
        if (killed.has(pid)) continue;
        killed.add(pid);
        process.kill(pid, 'SIGKILL');
      }
      await wait(20);
    }
    // At once, after 1 s, and after 2 s more.
    assert.ok(killed.size <= 4, `${killed.size}`);
    assert.equal(processes.below.filter(isAlive).length, count);
    running.child.kill('SIGTERM');
    assert.equal(await running.exited, 128 + 15);
    assert.deepEqual(leftProcesses(), []);
  });

  test('the guard is killed and the supervisor is asked to end: all is stopped', async () => {
    const { running, processes } = await up();
    process.kill(processes.guard.pid, 'SIGKILL');
    running.child.kill('SIGTERM');
    assert.equal(await running.exited, 128 + 15);
    assert.deepEqual(processes.below.filter(isAlive), []);
  });
});

describe('those that are hard to catch, when the supervisor is killed', () => {
  /** Each is started by python, with `ends` for when it would end by itself. */
  const hard: Readonly<Record<string, string>> = {
    'a chain of short-lived forks that is deaf': `
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while time.time() < ends:
    if os.fork(): os._exit(0)
    time.sleep(0.0005)`,
    'forks in all directions, each in a session of its own': `
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for n in range(40):
    if os.fork() == 0:
        os.setsid()
        if os.fork(): os._exit(0)
        while time.time() < ends:
            if os.fork() == 0: time.sleep(0.05); os._exit(0)
            time.sleep(0.03)
            try: os.waitpid(-1, os.WNOHANG)
            except OSError: pass
        os._exit(0)
time.sleep(100)`,
    'one that stops itself again and again': `
while time.time() < ends:
    os.kill(os.getpid(), signal.SIGSTOP)`,
    'a shell that waits in vfork for a child that is stopped': `
os.posix_spawn("/bin/sh", ["sh", "-c", "kill -STOP $$"], os.environ)
while time.time() < ends: time.sleep(1)`,
  };
  for (const [name, program] of Object.entries(hard)) {
    test(name, async () => {
      const running = runs.run(
        [],
        [
          'python3',
          '-c',
          `import os, signal, sys, time\nends = time.time() + 100\nos.closerange(3, 500)\nos.write(1, b"up\\n")\n${program}`,
        ],
      );
      await running.says('up');
      await wait(300);
      const { guard } = await processesOf(running, 1);
      const mark = leftProcesses().length;
      assert.ok(mark >= 2);
      process.kill(running.pid, 'SIGKILL');
      // The guard ends when the kernel says that it has no child any more.
      const { marginMs } = await goneBefore([guard], runs.endMs);
      assert.ok(marginMs > 0, `${-marginMs} ms too late`);
      assert.deepEqual(leftProcesses(), []);
    });
  }
});

describe('pause', () => {
  const pausing = ['--supervise', '--on-lost', 'pause'];
  const stopped = ({ below }: RunProcesses): boolean => below.every((one) => !isAlive(one) || isStopped(one));

  test('all is stopped, and goes on when the lock was nobody else’s', async () => {
    const { running, processes } = await up(pausing);
    runs.stopRenewals(true);
    await until(() => stopped(processes), 'all to be stopped');
    assert.equal(processes.below.filter(isAlive).length, count);
    await wait(ttlMs);
    assert.ok(stopped(processes));
    runs.stopRenewals(false);
    await until(() => !isStopped(processes.command), 'it to go on');
    await wait(ttlMs * 1.5);
    assert.ok(isAlive(processes.command) && !isStopped(processes.command), 'and it is guarded anew');
    runs.stopRenewals(true);
    await until(() => stopped(processes), 'all to be stopped again');
    running.child.kill('SIGTERM');
    assert.equal(await running.exited, 74);
    assert.deepEqual(leftProcesses(), []);
  });

  test('it stays so when somebody else has had the lock, also where somebody lets it go on', async () => {
    const { running, processes } = await up(pausing);
    runs.stopRenewals(true);
    await until(() => stopped(processes), 'all to be stopped');
    runs.usurp();
    runs.stopRenewals(false);
    await wait(2_500);
    assert.ok(stopped(processes));
    process.kill(processes.command.pid, 'SIGCONT');
    await wait(50);
    await until(() => stopped(processes), 'it to be stopped again');
    running.child.kill('SIGTERM');
    assert.equal(await running.exited, 74);
  });

  for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
    test(`the supervisor gets ${signal}: all is stopped in time`, async () => {
      const { running, processes } = await up(pausing);
      process.kill(running.pid, signal);
      await until(() => stopped(processes), 'all to be stopped');
      assert.ok(runs.endMs() > 0);
      // A guard that has no supervisor can be told to end it all.
      if (signal === 'SIGKILL') {
        process.kill(processes.guard.pid, 'SIGTERM');
        await until(() => !isAlive(processes.guard), 'the end of the guard');
        assert.deepEqual(processes.below.filter(isAlive), []);
      }
    });

    test(`the guard gets ${signal}: all is stopped in time, and goes on`, async () => {
      const { running, processes } = await up(pausing, mild);
      process.kill(processes.guard.pid, signal);
      runs.stopRenewals(true);
      await until(() => stopped(processes), 'all to be stopped');
      runs.stopRenewals(false);
      await until(() => !isStopped(processes.command), 'it to go on');
      running.child.kill('SIGTERM');
      assert.equal(await running.exited, 128 + 15);
    });
  }
});

test('restart: stopped, locked again as soon as that is possible, and started again', async () => {
  const running = runs.run(
    ['--supervise', '--on-lost', 'restart'],
    ['sh', '-c', 'echo up $$; exec sleep 1000'],
  );
  await running.says('up');
  runs.stopRenewals(true);
  await running.says('starting again', 'stderr');
  runs.stopRenewals(false);
  await until(() => running.stdout.split('up').length === 3, 'the second start');
  running.child.kill('SIGTERM');
  assert.equal(await running.exited, 128 + 15);
});

test('ignore: there is no guard, and nothing happens', async () => {
  const running = runs.run(['--supervise', '--on-lost', 'ignore'], ['sh', '-c', 'echo up; exec sleep 1000']);
  await running.says('up');
  await until(() => descendantsOf(running.pid).length === 1, 'the guard to go that was started early');
  runs.stopRenewals(true);
  await wait(ttlMs * 1.5);
  assert.equal(running.child.exitCode, null);
  running.child.kill('SIGTERM');
  assert.equal(await running.exited, 128 + 15);
});

describe('on a terminal', { skip: lacks('script') }, () => {
  const environment = { SHELL: '/bin/sh', TERM: 'dumb', PS1: '' };
  const lineOf = (words: readonly string[]): string =>
    words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
  const onTerminal = (line: string): Running =>
    start('script', ['-qec', line, '/dev/null'], { env: environment });

  test('the command reads what is typed, and Ctrl-C reaches it once', async () => {
    const text = 'trap "echo heard" INT; echo up; until read line; do :; done; echo "typed: $line"; exit 5';
    const running = onTerminal(`exec ${lineOf(runs.words([], ['sh', '-c', text]))}`);
    await running.says('up');
    running.child.stdin?.write('\u0003');
    await running.says('heard');
    await wait(200);
    running.child.stdin?.write('some words\r');
    const { status, stdout } = await running.ended;
    assert.equal(status, 5);
    assert.match(stdout, /typed: some words/);
    assert.equal(stdout.split('heard').length, 2, stdout);
  });

  test('Ctrl-C reaches a command once that has begun a moment before its supervisor knows', async () => {
    // It stops the supervisor, the parent of its own.
    const first = 'trap "echo heard" INT; read -r _ _ _ above _ </proc/$PPID/stat; kill -STOP $above';
    const text = `${first}; echo up $above.; until read line; do :; done; exit 5`;
    const running = onTerminal(`trap : INT; ${lineOf(runs.words([], ['sh', '-c', text]))}; exit $?`);
    await running.says('.\r\n');
    running.child.stdin?.write('\u0003');
    await running.says('heard');
    process.kill(Number(/up (\d+)\./.exec(running.stdout)?.[1]), 'SIGCONT');
    await wait(200);
    running.child.stdin?.write('\r');
    const { status, stdout } = await running.ended;
    assert.equal(status, 5);
    assert.equal(stdout.split('heard').length, 2, stdout);
  });

  test('Ctrl-Z stops it as any job; whoever leaves it so for too long finds it ended', async () => {
    const running = onTerminal('exec bash --norc -i');
    const line = lineOf(runs.words([], ['sh', '-c', 'echo begun; exec sleep 1004']));
    running.child.stdin?.write(`${line}\r`);
    await running.says('begun\r\n');
    const supervisor = descendantsOf(running.pid).find(({ pid }) => argumentsOf(pid).includes('renewing'));
    const { below, guard } = await processesOf({ pid: supervisor?.pid ?? 0 }, 1);
    running.child.stdin?.write('\u001a');
    await running.says('Stopped');
    await until(() => below.every(isStopped), 'all of it to be stopped');
    running.child.stdin?.write('fg\r');
    await until(() => !below.some(isStopped), 'it to go on');
    await wait(ttlMs);
    assert.ok(below.every(isAlive), 'it is renewed again');
    running.child.stdin?.write('\u001a');
    await until(() => below.every((one) => isStopped(one) || !isAlive(one)), 'it to be stopped');
    const { marginMs } = await goneBefore(below, runs.endMs);
    assert.ok(marginMs > 0, `${-marginMs} ms too late`);
    await until(() => !isAlive(guard), 'the end of the guard');
    running.child.stdin?.write('fg\r');
    await running.says('was not renewed in time');
    running.child.stdin?.write('echo "status $?"; exit\r');
    await running.says('status 74');
  });
});
