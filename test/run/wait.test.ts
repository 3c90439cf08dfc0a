/** `run --wait`: waits for who is in the way, says for whom, and can be told to stop waiting. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
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
import { end, rawDisk, startQemu } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const disk = rawDisk(join(folder, 'disk.raw'));
const runtime = process.env['HOLDFAST_RUNTIME_DIR'] ?? '';
const ran = ['--', 'echo', 'ran'];
afterEach(async () => {
  endLeftProcesses();
  await untilFree(disk);
});

async function hold(): Promise<Running> {
  const running = start(holdfast, [
    'run',
    '-q',
    '--name',
    'first',
    '--disk',
    disk,
    '--',
    'sh',
    '-c',
    'echo up; exec sleep 1000',
  ]);
  await running.says('up');
  return running;
}

/** One that waits, and has said so. */
async function waiting(...more: readonly string[]): Promise<Running> {
  const running = start(holdfast, ['run', '--wait', ...more, '--disk', disk, ...ran]);
  await running.says('holdfast: waiting', 'stderr');
  return running;
}

test('it waits for the holder, says once for whom if there is no terminal, and then runs', async () => {
  const first = await hold();
  const second = await waiting();
  assert.match(second.stderr, new RegExp(`waiting (?:\\d+s )?for ${disk}, held by .*pid ${first.pid}\\b`));
  // Longer than the line would be repeated in.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  assert.equal(second.child.exitCode, null);
  await end(first);
  const { status, stdout, stderr } = await second.ended;
  assert.deepEqual([status, stdout], [0, 'ran\n']);
  assert.equal(stderr.split('holdfast: waiting').length, 2, stderr);
});

test('--quiet waits without a word', async () => {
  const first = await hold();
  const second = start(holdfast, ['run', '--wait', '-q', '--disk', disk, ...ran]);
  await new Promise((resolve) => setTimeout(resolve, 500));
  await end(first);
  assert.deepEqual(await second.ended, { status: 0, stdout: 'ran\n', stderr: '' });
});

test('--wait=TIME that is over: 75, and the holder is named', async () => {
  const first = await hold();
  const args = ['run', '--wait=1s', '--disk', disk, ...ran];
  const { status, stdout, stderr } = await call(args);
  assert.deepEqual([status, stdout], [75, '']);
  assert.match(stderr, /still was after 1 s/);
  assert.match(stderr, new RegExp(`^ {2}held by .*pid ${first.pid}\\b`, 'm'));

  const data = await call([...args.slice(0, 1), '--json', '-E', '9', ...args.slice(1)]);
  assert.equal(data.status, 9);
  const refusal = JSON.parse(data.stderr) as { code: string; holders: { pid: number }[] };
  assert.equal(refusal.code, 'TIMEOUT');
  assert.deepEqual(
    refusal.holders.map(({ pid }) => pid),
    [first.pid],
  );
  await end(first);
});

test('--wait for what is free does not wait', async () => {
  assert.deepEqual(await call(['run', '-q', '--wait', '--disk', disk, ...ran]), {
    status: 0,
    stdout: 'ran\n',
    stderr: '',
  });
});

test('what waiting cannot change is said at once', async () => {
  const { status } = await call(['run', '--wait', '--disk', join(folder, 'missing'), ...ran]);
  assert.equal(status, 66);
});

describe('while it waits', () => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL'] as const) {
    test(`${signal} leaves nothing: no lock, no record, no process`, async () => {
      const first = await hold();
      const records = readdirSync(join(runtime, 'holds'));
      const second = await waiting();
      second.child.kill(signal);
      assert.ok((await second.exited) > 128);
      assert.deepEqual(leftProcesses(), [first.pid]);
      // Records of the dead that were there are gone: whoever is refused looks at all.
      const added = readdirSync(join(runtime, 'holds')).filter((record) => !records.includes(record));
      assert.deepEqual(added, []);
      await end(first);
      assert.equal(lockOn(disk), 'none');
      const lockspace = join(runtime, 'lockspace');
      assert.deepEqual(existsSync(lockspace) ? readdirSync(lockspace) : [], []);
      assert.equal((await call(['run', '-q', '--disk', disk, ...ran])).stdout, 'ran\n');
    });
  }

  test('of all or nothing it keeps nothing: what is free stays free for others', async () => {
    const other = rawDisk(join(folder, 'other.raw'));
    const first = await hold();
    const second = await waiting('--disk', other);
    for (let look = 0; look < 50; look++) {
      // It tries again and again, and holds the free one only for the moment of a try.
      if ((await call(['run', '-q', '--wait=5s', '--disk', other, ...ran])).stdout === 'ran\n') break;
      assert.ok(look < 49);
    }
    await end(first);
    assert.equal((await second.ended).status, 0);
  });
});

test('several that wait all get it, one after another', async () => {
  const first = await hold();
  const marker = join(folder, 'marker');
  const script = `mkdir ${marker} || echo two at once; sleep 0.05; rmdir ${marker}; echo done`;
  const others = Array.from({ length: 5 }, () =>
    start(holdfast, ['run', '-q', '--wait', '--disk', disk, '--', 'sh', '-c', script], { input: '' }),
  );
  await new Promise((resolve) => setTimeout(resolve, 300));
  await end(first);
  for (const other of others)
    assert.deepEqual(await other.ended, { status: 0, stdout: 'done\n', stderr: '' });
});

test('it waits for a QEMU that knows nothing of Holdfast', { skip: lacks('qemu') }, async () => {
  const qemu = await startQemu('plain', { path: disk, format: 'raw' });
  const second = await waiting();
  assert.match(second.stderr, /held by guest "plain"/);
  await end(qemu);
  assert.equal((await second.ended).stdout, 'ran\n');
});

describe('on a terminal', { skip: lacks('script') }, () => {
  const onTerminal = (command: string): Running =>
    start('script', ['-qec', command, '/dev/null'], {
      env: { SHELL: '/bin/sh', TERM: 'xterm', COLUMNS: '200' },
    });
  const command = `${holdfast} run --wait --disk ${disk} -- echo ran`;

  test('one line is kept up to date, and taken away in the end', async () => {
    const first = await hold();
    const second = onTerminal(command);
    await second.says('held by first');
    await until(() => second.stdout.split('holdfast: waiting').length > 2, 'a second line');
    await end(first);
    const { status, stdout } = await second.ended;
    assert.equal(status, 0);
    assert.ok(stdout.split('holdfast: waiting').length > 2, 'shown more than once');
    assert.equal(stdout.split('\n').length, 2, 'on one line');
    assert.ok(stdout.endsWith('\r\u001B[Kran\r\n'), stdout);
  });

  test('Ctrl-C ends the waiting', async () => {
    const first = await hold();
    const second = onTerminal(command);
    await second.says('held by first');
    second.child.stdin?.write('\u0003');
    assert.equal((await second.ended).status, 128 + 2);
    assert.deepEqual(leftProcesses(), [first.pid]);
  });
});
