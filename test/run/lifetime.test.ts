/**
 * How long a lock lasts: as long as any process has what the command inherited, whoever is killed, and no longer.
 * Whether it is there is asked of the kernel; `list` has to say the same.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { call, commandFolder, endLeftProcesses, holdfast, leftProcesses, start } from '../beds/command.js';
import { lockOn, untilFree } from '../beds/observed-lock.js';
import { closingDescriptors, daemonizing } from '../beds/odd-commands.js';
import { domainXml, qemuCommand, rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const disk = rawDisk(join(folder, 'disk.raw'));
const run = ['run', '-q', '--disk', disk, '--'];
afterEach(async () => {
  endLeftProcesses();
  await untilFree(disk);
});

interface Listed {
  readonly command: readonly string[];
  readonly owner: { readonly name: string };
  readonly processes: readonly { readonly pid: number; readonly program: string }[];
  readonly resources: readonly { readonly label: string; readonly mode: string }[];
}

async function list(): Promise<readonly Listed[]> {
  const { status, stdout, stderr } = await call(['list', '--json']);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout) as Listed[];
}

const pidsOf = (listed: readonly Listed[]): number[] =>
  listed.flatMap(({ processes }) => processes.map(({ pid }) => pid)).toSorted((a, b) => a - b);

/** The numbers that a command printed, one line each, after `name`. */
const printed = (text: string, name: string): number[] =>
  [...text.matchAll(new RegExp(`^${name} (\\d+)$`, 'gm'))].map((found) => Number(found[1]));

async function isRefused(): Promise<boolean> {
  const { status, stderr } = await call(['run', '-q', '--disk', disk, '--', 'true']);
  assert.ok(status === 0 || status === 75, stderr);
  return status === 75;
}

test('kill -9 of the command, which is all there is, frees the lock', async () => {
  const running = start(holdfast, [...run, 'sh', '-c', 'echo up; exec sleep 1000']);
  await running.says('up');
  assert.equal(lockOn(disk), 'write');
  process.kill(running.pid, 'SIGKILL');
  assert.equal(await running.ended.then(({ status }) => status), 128 + 9);
  assert.equal(lockOn(disk), 'none');
  assert.deepEqual(await list(), []);
});

test("sh -c 'x &': x keeps the lock after the shell is gone, and list shows it", async () => {
  const running = start(holdfast, [...run, 'sh', '-c', 'sleep 1000 & echo child $!'], { input: '' });
  assert.equal(await running.exited, 0);
  await until(() => printed(running.stdout, 'child').length === 1, 'the pid');
  const [child = 0] = printed(running.stdout, 'child');
  assert.equal(await isRefused(), true);
  assert.deepEqual(pidsOf(await list()), [child]);
  process.kill(child, 'SIGKILL');
  await untilFree(disk);
  assert.deepEqual(await list(), []);
  assert.equal(await isRefused(), false);
});

test('a tree of processes, killed one by one from its root: the lock goes with the last', async () => {
  // Each level starts the next in a session of its own and stays.
  const script = join(folder, 'tree');
  writeFileSync(
    script,
    'echo level $$; if [ $1 -gt 0 ]; then setsid sh "$0" $(($1 - 1)) & fi; sleep 1000 & echo level $!; wait\n',
  );
  const running = start(holdfast, [...run, 'sh', script, '3']);
  await until(() => printed(running.stdout, 'level').length === 8, 'eight processes');
  const pids = leftProcesses();
  assert.ok(pids.length >= 8);
  const order = [running.pid, ...pids.filter((pid) => pid !== running.pid)];
  for (const [index, pid] of order.entries()) {
    assert.equal(lockOn(disk), 'write', `${order.length - index} are left`);
    process.kill(pid, 'SIGKILL');
    if (index > 0) continue;
    await running.exited;
    assert.deepEqual(
      pidsOf(await list()),
      pids.filter((one) => one !== pid).toSorted((a, b) => a - b),
    );
  }
  await untilFree(disk);
  assert.deepEqual(await list(), []);
});

test(
  'qemu -daemonize: the guest keeps the lock, is listed, and named to the second',
  { skip: lacks('qemu') },
  async () => {
    const xml = join(folder, 'daemon.xml');
    const pidFile = join(folder, 'daemon.pid');
    writeFileSync(xml, domainXml('daemon', [{ path: disk }]));
    const [program, ...args] = qemuCommand('daemon', { path: disk, format: 'raw' });
    // Standard input is gone in a daemon.
    const command = [
      program,
      ...args.map((one) => (one === 'stdio' ? 'null' : one)),
      '-daemonize',
      '-pidfile',
      pidFile,
    ];
    const running = start(holdfast, ['run', '-q', '--xml', xml, '--', ...command], { input: '' });
    assert.equal(await running.exited, 0, running.stderr);
    const pid = Number(readFileSync(pidFile, 'utf8'));
    assert.notEqual(pid, running.pid);

    const [held, ...others] = await list();
    assert.deepEqual(others, []);
    assert.equal(held?.owner.name, 'daemon');
    assert.deepEqual(held?.processes, [{ pid, program: 'qemu-system-x86_64' }]);
    assert.ok(held?.resources.some(({ label, mode }) => label === disk && mode === 'exclusive'));

    writeFileSync(join(folder, 'second.xml'), domainXml('second', [{ path: disk }]));
    const refused = await call(['run', '--xml', join(folder, 'second.xml'), '--', 'true']);
    assert.equal(refused.status, 75);
    assert.match(refused.stderr, new RegExp(`guest "daemon" \\(qemu-system-x86_64, pid ${pid}\\)`));

    process.kill(pid, 'SIGKILL');
    await untilFree(disk);
    assert.deepEqual(await list(), []);
  },
);

describe('a command that closes all its descriptors', { skip: lacks('perl') }, () => {
  test('without --supervise the lock is free while the command runs, and list does not claim otherwise', async () => {
    const running = start(holdfast, [...run, ...closingDescriptors('echo up; sleep 1000')]);
    await running.says('up');
    assert.equal(lockOn(disk), 'none');
    assert.deepEqual(await list(), []);
    assert.equal(await isRefused(), false);
    assert.equal(running.child.exitCode, null);
  });

  test('with --supervise it is kept until the command has ended', async () => {
    const running = start(holdfast, [
      'run',
      '-q',
      '--supervise',
      '--disk',
      disk,
      '--',
      ...closingDescriptors('echo up $$; read x; exit 7'),
    ]);
    await running.says('up');
    assert.equal(lockOn(disk), 'write');
    assert.equal(await isRefused(), true);
    assert.deepEqual(pidsOf(await list()), [running.pid]);
    running.child.stdin?.end('\n');
    assert.equal((await running.ended).status, 7);
    assert.equal(lockOn(disk), 'none');
    assert.deepEqual(await list(), []);
  });

  test('with --supervise it is kept until the last descendant has ended, also after setsid and two forks', async () => {
    const script = daemonizing('echo daemon $$; exec sleep 1000 >/dev/null 2>&1');
    const command = closingDescriptors(`${script}; echo parent $$; exit 3`);
    const running = start(holdfast, ['run', '-q', '--supervise', '--disk', disk, '--', ...command]);
    await until(
      () => printed(running.stdout, 'daemon').length === 1 && printed(running.stdout, 'parent').length === 1,
      'both',
    );
    const [parent = 0] = printed(running.stdout, 'parent');
    const [daemon = 0] = printed(running.stdout, 'daemon');
    await until(() => !leftProcesses().includes(parent), 'the end of the command');
    assert.deepEqual(
      leftProcesses().toSorted((a, b) => a - b),
      [running.pid, daemon].toSorted((a, b) => a - b),
    );
    assert.equal(await isRefused(), true);
    assert.equal(running.child.exitCode, null, 'the supervisor stays');
    process.kill(daemon, 'SIGKILL');
    assert.equal((await running.ended).status, 3, "the command's own status");
    assert.equal(lockOn(disk), 'none');
    assert.deepEqual(leftProcesses(), []);
  });
});

test('kill -9 of the supervisor: the command that inherited the lock keeps it', async () => {
  const command = ['sh', '-c', 'echo child $$; exec sleep 1000'];
  const running = start(holdfast, ['run', '-q', '--supervise', '--disk', disk, '--', ...command]);
  await running.says('child');
  const [child = 0] = printed(running.stdout, 'child');
  process.kill(running.pid, 'SIGKILL');
  await running.exited;
  assert.equal(lockOn(disk), 'write');
  assert.deepEqual(pidsOf(await list()), [child]);
  process.kill(child, 'SIGKILL');
  await untilFree(disk);
});
