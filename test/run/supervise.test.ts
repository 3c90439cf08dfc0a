/** `run --supervise`: the parent that stays passes everything on, and ends everything that it started. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import {
  call,
  commandFolder,
  endLeftProcesses,
  holdfast,
  leftProcesses,
  start,
  type Running,
} from '../beds/command.js';
import { lockOn, untilFree } from '../beds/observed-lock.js';
import { closingDescriptors, daemonizing } from '../beds/odd-commands.js';
import { rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const disk = rawDisk(join(folder, 'disk.raw'));
const supervise = ['run', '-q', '--supervise', '--disk', disk, '--'];
afterEach(async () => {
  endLeftProcesses();
  await untilFree(disk);
});

const startScript = (script: string, options = {}): Running =>
  start(holdfast, [...supervise, 'sh', '-c', script], options);

test('the status of the command: its own, or 128 and its signal', async () => {
  const scripts: readonly [script: string, status: number][] = [
    ['exit 0', 0],
    ['exit 3', 3],
    ['exit 255', 255],
    ['kill -TERM $$', 128 + 15],
    ['kill -KILL $$', 128 + 9],
    ['kill -USR1 $$', 128 + 10],
  ];
  for (const [script, status] of scripts) {
    assert.equal((await call([...supervise, 'sh', '-c', script])).status, status, script);
    assert.equal(lockOn(disk), 'none');
  }
});

test('standard input, output and error are the command’s', async () => {
  const input = 'line\n'.repeat(50_000);
  const { status, stdout, stderr } = await startScript('cat; echo problem >&2', { input }).ended;
  assert.deepEqual([status, stdout === input, stderr], [0, true, 'problem\n']);
});

test('arguments, the name it is called by, and the hold in its environment', async () => {
  const script =
    'tr "\\0" "|" </proc/$$/cmdline; echo; echo "$0 $#"; echo "${#HOLDFAST_HOLD} ${HOLDFAST_LAUNCH-none}"';
  const { stdout } = await call([...supervise, 'sh', '-c', script, 'called', 'a b', '', '--json']);
  assert.deepEqual(stdout.split('\n').slice(1), ['called 3', '12 none', '']);
  assert.match(stdout, /^sh\|-c\|/);
});

describe('signals go on to the command', () => {
  for (const name of ['USR1', 'USR2', 'HUP', 'INT', 'QUIT', 'TERM', 'WINCH', 'CONT']) {
    test(name, async () => {
      const running = startScript(
        `trap 'echo heard ${name}; exit 42' ${name}; echo up; while :; do sleep 0.01; done`,
      );
      await running.says('up');
      running.child.kill(`SIG${name}` as NodeJS.Signals);
      assert.deepEqual(await running.ended, { status: 42, stdout: `up\nheard ${name}\n`, stderr: '' });
    });
  }

  test('SIGINT that the command survives ends nothing', async () => {
    const running = startScript(
      "trap 'echo heard' INT; echo up; until read x; do :; done; echo read $x; exit 5",
    );
    await running.says('up');
    running.child.kill('SIGINT');
    await running.says('heard');
    running.child.stdin?.end('more\n');
    const { status, stdout } = await running.ended;
    assert.equal(status, 5);
    assert.match(stdout, /heard\nread more\n$/);
  });

  test('what was ignored before stays ignored, as nohup wants it', async () => {
    const command = [holdfast, ...supervise, 'sh', '-c', 'echo up; read x; exit 6'];
    const running = start('sh', ['-c', 'trap \'\' HUP; exec "$@"', 'sh', ...command]);
    await running.says('up');
    for (const pid of leftProcesses()) process.kill(pid, 'SIGHUP');
    await new Promise((resolve) => setTimeout(resolve, 100));
    running.child.stdin?.end('\n');
    assert.equal((await running.ended).status, 6);
  });
});

describe('SIGTERM to the supervisor ends everything below it', () => {
  const ended = async (running: Running, status: number): Promise<void> => {
    const pids = leftProcesses();
    assert.ok(pids.length >= 3, 'there is something to end');
    process.kill(running.pid, 'SIGTERM');
    assert.equal(await running.exited, status);
    assert.deepEqual(leftProcesses(), []);
    assert.equal(lockOn(disk), 'none');
  };

  test(
    'children, daemons that left the session, with closed descriptors',
    { skip: lacks('perl') },
    async () => {
      const script = `${daemonizing('echo daemon; exec sleep 1000')}; sleep 1000 & echo up; wait`;
      const running = start(holdfast, [...supervise, ...closingDescriptors(script)]);
      await running.says('up');
      await running.says('daemon');
      await ended(running, 128 + 15);
    },
  );

  test('a command that does not hear SIGTERM: its daemons are stopped once it has ended by itself', async () => {
    const script = `${daemonizing('echo daemon; exec sleep 1000')}; trap '' TERM; echo up; read x; exit 9`;
    const running = startScript(script);
    await running.says('up');
    await running.says('daemon');
    process.kill(running.pid, 'SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(running.child.exitCode, null);
    assert.equal(lockOn(disk), 'write');
    running.child.stdin?.end('\n');
    assert.equal(await running.exited, 9);
    assert.deepEqual(leftProcesses(), []);
  });

  test('daemons that ignore SIGTERM, or are stopped, are killed', async () => {
    const deaf = daemonizing('trap "" TERM; echo deaf; while :; do sleep 1; done');
    const stopped = daemonizing('echo stopped; kill -STOP $$; sleep 1000');
    const running = startScript(`${deaf}; ${stopped}; echo up; exec sleep 1000`);
    await running.says('deaf');
    await running.says('stopped');
    await running.says('up');
    await ended(running, 128 + 15);
  });

  test('processes that start others all the time', async () => {
    const breeder = daemonizing('while :; do setsid sleep 0.05 & sleep 0.01; done');
    const running = startScript(`${breeder}; ${breeder}; echo up; exec sleep 1000`);
    await running.says('up');
    await until(() => leftProcesses().length > 6, 'some of them');
    await ended(running, 128 + 15);
  });
});

test('SIGKILL of the command leaves nothing, and its status is passed on', async () => {
  const running = startScript('echo up $$; exec sleep 1000');
  await running.says('up');
  const child = Number(/up (\d+)/.exec(running.stdout)?.[1]);
  process.kill(child, 'SIGKILL');
  assert.equal((await running.ended).status, 128 + 9);
  assert.deepEqual(leftProcesses(), []);
  assert.deepEqual(JSON.parse((await call(['list', '--json'])).stdout), []);
});
