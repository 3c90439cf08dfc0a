/** A lock that is lost while the command runs: it and all below it are stopped before anybody else can have the disk. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import {
  commandFolder,
  endLeftProcesses,
  holdfast,
  leftProcesses,
  start,
  type Running,
} from '../beds/command.js';
import { endProcesses } from '../beds/marked-processes.js';
import { lockOn, untilFree } from '../beds/observed-lock.js';
import { daemonizing } from '../beds/odd-commands.js';
import { domainXml, rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';

const folder = commandFolder();
const disk = rawDisk(join(folder, 'disk.raw'));
const starts = join(folder, 'starts');
/** Whoever makes this file makes the driver lose its locks, once. */
const loss = join(folder, 'loss');

/** A driver whose locks need somebody beside the command, and can be lost. */
const drivers = join(folder, 'drivers');
mkdirSync(drivers);
writeFileSync(
  join(drivers, 'losing.mjs'),
  `import { rmSync } from 'node:fs';
const about = {
  name: 'losing', reach: 'none', modes: ['exclusive', 'shared', 'read', 'part'], guarantees: [], doesNotGuarantee: [], supervise: true,
};
const start = () => ({
  async acquire(_owner, requests) {
    let timer;
    const lost = new Promise((resolve) => {
      timer = setInterval(() => {
        try {
          rmSync(${JSON.stringify(loss)});
        } catch {
          return;
        }
        resolve({ reason: 'the moon set', resources: requests.map(({ resource }) => resource.label) });
      }, 10);
    });
    return { requests, descriptors: [], tokens: {}, lost, timer };
  },
  async release({ timer }) {
    clearInterval(timer);
    if (process.env.LOSING_RELEASE === 'fails') throw new Error('the other side does not answer');
  },
  async holders() { return []; },
});
export default { about, start };
`,
);
process.env['HOLDFAST_DRIVER_PATH'] = drivers;

afterEach(async () => {
  endLeftProcesses();
  rmSync(loss, { force: true });
  rmSync(starts, { force: true });
  await untilFree(disk);
});

const script = `echo start >>${starts}
${daemonizing('echo daemon; exec sleep 1000')}; trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done`;

function run(...options: readonly string[]): Running {
  const asked = ['run', '-q', '--driver', 'fcntl,losing', ...options, '--', 'sh', '-c', script];
  return start(holdfast, asked);
}

async function upAndLost(running: Running): Promise<void> {
  await running.says('up');
  await running.says('daemon');
  writeFileSync(loss, '');
}

const below = (running: Running): number[] => leftProcesses().filter((pid) => pid !== running.pid);

function isStopped(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // D: a shell that started something is not through with vfork(2) while that is stopped.
    return /^[TD]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false; // It has ended, and with it its turn.
  }
}

function untilPaused(running: Running): Promise<void> {
  return until(() => {
    const pids = below(running);
    return pids.length >= 2 && pids.every(isStopped);
  }, 'all to be stopped');
}

test('poweroff, without being told: 74, the reason, and nobody is left when the disk becomes free', async () => {
  const running = run('--disk', disk);
  await running.says('up');
  await running.says('daemon');
  // Who waits for the disk looks who still runs of those that had it.
  const had = below(running);
  const look = 'for pid; do test -e /proc/$pid/exe && echo alive $pid; done; echo looked';
  const waiter = start(holdfast, [
    'run',
    '--wait',
    '--disk',
    disk,
    '--',
    'sh',
    '-c',
    look,
    'sh',
    ...had.map(String),
  ]);
  await waiter.says('waiting for', 'stderr');
  writeFileSync(loss, '');
  const { status, stderr } = await running.ended;
  assert.equal(status, 74, stderr);
  assert.match(stderr, /the moon set/);
  assert.ok(stderr.includes(disk));
  assert.equal((await waiter.ended).stdout, 'looked\n');
  assert.deepEqual(leftProcesses(), []);
});

test('pause, as the domain says: everything is stopped and stays, with its locks, and never runs again', async () => {
  const xml = join(folder, 'paused.xml');
  const text = domainXml('paused', [{ path: disk }]);
  writeFileSync(xml, text.replace('<devices>', '<on_lockfailure>pause</on_lockfailure><devices>'));
  const running = run('--xml', xml);
  await upAndLost(running);
  await untilPaused(running);
  assert.equal(running.child.exitCode, null);
  assert.equal(lockOn(disk), 'write');
  running.child.kill('SIGTERM');
  assert.equal(await running.exited, 74);
  assert.deepEqual(leftProcesses(), []);
});

test('pause: a command that is ended by somebody else ends the supervisor', async () => {
  const running = run('--supervise', '--on-lost', 'pause', '--disk', disk);
  await upAndLost(running);
  await untilPaused(running);
  endProcesses(below(running));
  assert.equal(await running.exited, 128 + 9);
  assert.equal(lockOn(disk), 'none');
});

test('locks that cannot be given back: the status is the command’s, and it is said', async () => {
  const asked = ['run', '-q', '--driver', 'fcntl,losing', '--disk', disk, '--', 'sh', '-c', 'exit 7'];
  const { status, stderr } = await start(holdfast, asked, { env: { LOSING_RELEASE: 'fails' } }).ended;
  assert.equal(status, 7);
  assert.match(
    stderr,
    /^holdfast: the command has ended, and its locks could not be given back: .*does not answer\n$/,
  );
});

test('ignore: nothing happens', async () => {
  const running = run('--supervise', '--on-lost', 'ignore', '--disk', disk);
  await upAndLost(running);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(running.child.exitCode, null);
  assert.equal(lockOn(disk), 'write');
  running.child.kill('SIGTERM');
  assert.equal(await running.exited, 0);
  assert.deepEqual(leftProcesses(), []);
});

test('restart: stopped, locked anew, and started again', async () => {
  const running = run('--supervise', '--on-lost', 'restart', '--disk', disk);
  await upAndLost(running);
  await until(() => readFileSync(starts, 'utf8') === 'start\nstart\n', 'the second start');
  await until(() => running.stdout.split('up\n').length === 3, 'it to be up');
  assert.equal(lockOn(disk), 'write');
  running.child.kill('SIGTERM');
  assert.equal(await running.exited, 0);
  assert.deepEqual(leftProcesses(), []);
});

test('restart: not if it is told to end while the command is being stopped', async () => {
  const deaf = `echo start >>${starts}; trap '' TERM; echo up; while :; do sleep 0.1; done`;
  const asked = ['--driver', 'fcntl,losing', '--supervise', '--on-lost', 'restart', '--disk', disk];
  const running = start(holdfast, ['run', '-q', ...asked, '--', 'sh', '-c', deaf]);
  await running.says('up');
  writeFileSync(loss, '');
  await until(() => !existsSync(loss), 'the loss to be noticed');
  running.child.kill('SIGTERM');
  assert.equal(await running.exited, 128 + 9);
  assert.equal(readFileSync(starts, 'utf8'), 'start\n');
  assert.deepEqual(leftProcesses(), []);
});
