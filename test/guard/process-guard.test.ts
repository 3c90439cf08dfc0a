/** The guard of a host: processes that others have started, and the watchdog device, for which a pipe stands in. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { GuardProcess } from '../../src/guard/guard-process.js';
import type {
  GuardedAction,
  GuardedProcess,
  GuardReport,
  NamedProcess,
} from '../../src/guard/guard-words.js';
import { boottimeMs } from '../../src/system/boot-clock.js';
import { descendantsOf } from '../../src/system/descendants.js';
import { tryLock } from '../../src/system/ofd-lock.js';
import { processStartTime, readProcessStat } from '../../src/system/process.js';
import { privateFolder } from '../beds/private-folder.js';
import { until } from '../beds/until.js';

const folder = privateFolder();
const children: ChildProcess[] = [];
const guards: GuardProcess[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const guard of guards.splice(0)) guard.kill();
});

const certain = { loseAtMs: Infinity, killAtMs: Infinity, endMs: Infinity };
const inMs = (lose: number, kill: number): typeof certain => {
  const now = boottimeMs();
  return { loseAtMs: now + lose, killAtMs: now + kill, endMs: now + kill * 2 };
};

function newGuard(watchdog?: string): { guard: GuardProcess; reports: GuardReport[] } {
  const guard = new GuardProcess(
    { processes: true, ...(watchdog === undefined ? {} : { watchdog }) },
    certain,
  );
  const reports: GuardReport[] = [];
  guard.onReport((said) => reports.push(said));
  guards.push(guard);
  return { guard, reports };
}

/** As a guest: in a session of its own, below nobody of the guard's. */
function guest(
  script: string,
  action: GuardedAction = 'poweroff',
): { child: ChildProcess; guarded: GuardedProcess } {
  const child = spawn('sh', ['-c', script], { stdio: 'ignore', detached: true });
  children.push(child);
  const pid = child.pid ?? 0;
  return { child, guarded: { pid, startTime: processStartTime(pid) ?? 0, action } };
}

const isCounted =
  (count: number) =>
  (said: GuardReport): said is Extract<GuardReport, { is: 'guarding' }> =>
    said.is === 'guarding' && said.count === count;

async function guardThem(
  guard: GuardProcess,
  processes: readonly GuardedProcess[],
  count: number,
  spared: readonly NamedProcess[] = [],
): Promise<void> {
  const heard = guard.hear(isCounted(count), 20_000);
  guard.order({ do: 'processes', processes, spared });
  assert.ok(await heard, 'it counts them');
}

const runs = ({ pid, startTime }: { pid: number; startTime: number }): boolean => {
  const stat = readProcessStat(pid);
  return stat?.startTime === startTime && stat.state !== 'Z';
};

test('who is spared is not ended with one that it is below, nor what is below it; nor as one on the list', async () => {
  const { guard } = newGuard();
  const shell = guest('sh -c "sleep 1000 & wait" & sleep 1000 & wait');
  await until(() => descendantsOf(shell.guarded.pid).length >= 3, 'what is below it');
  const below = descendantsOf(shell.guarded.pid);
  const daemon = below.find(({ pid }) => below.some(({ ppid }) => ppid === pid));
  assert.ok(daemon);
  const [inner] = below.filter(({ ppid }) => ppid === daemon.pid);
  const [outer] = below.filter(({ pid }) => pid !== daemon.pid && pid !== inner?.pid);
  assert.ok(inner !== undefined && outer !== undefined);
  try {
    await guardThem(guard, [shell.guarded, { ...daemon, action: 'poweroff' }], 1, [daemon]);
    guard.times = inMs(0, 100);
    await until(() => !runs(shell.guarded) && !runs(outer), 'their end');
    assert.ok(runs(daemon) && runs(inner));
  } finally {
    for (const { pid } of [daemon, inner]) process.kill(pid, 'SIGKILL');
  }
});

test('whoever keeps the witness of one that has ended is ended in time, and nobody who only has the file open', async () => {
  const { guard } = newGuard();
  const witness = join(folder, 'witness');
  writeFileSync(witness, '');
  const locked = openSync(witness, 'r+');
  const other = openSync(witness, 'r+');
  assert.ok(tryLock(locked, 'write', 0, 0));
  const inheriting = (fd: number): ChildProcess => {
    const child = spawn('sleep', ['1000'], { stdio: ['ignore', 'ignore', 'ignore', fd] });
    children.push(child);
    return child;
  };
  const [keeper, reader] = [inheriting(locked), inheriting(other)];
  closeSync(locked);
  closeSync(other);
  const named = ({ pid = 0 }: ChildProcess): NamedProcess => ({ pid, startTime: processStartTime(pid) ?? 0 });
  const [kept, read] = [named(keeper), named(reader)];
  await guardThem(guard, [{ pid: 2 ** 22 - 1, startTime: 1, action: 'poweroff', witness }], 1);
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.ok(runs(kept), 'not before it is time');
  guard.times = inMs(0, 100);
  await until(() => !runs(kept), 'its end');
  assert.ok(runs(read));
});

test('at the time of the kill all on the list are ended with what is below them, and nobody else', async () => {
  const { guard, reports } = newGuard();
  const deaf = guest('trap "" TERM; sleep 1000 & while :; do sleep 1; done');
  const other = guest('exec sleep 1000');
  const reused = { ...other.guarded, startTime: other.guarded.startTime - 1 };
  const gone = { pid: 2 ** 22 - 1, startTime: 1, action: 'poweroff' as const };
  await guardThem(guard, [deaf.guarded, reused, gone], 1);
  await until(() => descendantsOf(deaf.guarded.pid).length >= 2, 'what is below it');
  const below = descendantsOf(deaf.guarded.pid);
  guard.times = inMs(0, 1_000);
  await until(() => !runs(deaf.guarded) && !below.some(runs), 'their end');
  assert.ok(boottimeMs() < guard.times.endMs);
  assert.ok(boottimeMs() >= guard.times.killAtMs, 'not before it was time');
  assert.ok(runs(other.guarded), 'another process that has the pid of one on the list');
  assert.deepEqual(
    reports.filter(({ is }) => is === 'killed'),
    [{ is: 'killed', pids: [deaf.guarded.pid] }],
  );
});

test('times that are moved on in time touch nobody, also where nothing was said meanwhile', async () => {
  const { guard } = newGuard();
  const { guarded } = guest('exec sleep 1000');
  await guardThem(guard, [guarded], 1);
  for (let round = 0; round < 8; round++) {
    guard.times = inMs(200, 2_000);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  guard.times = certain;
  assert.ok(runs(guarded));
});

test('a guard that was stopped finds the newest times, not those that were missed', async () => {
  const { guard } = newGuard();
  const { guarded } = guest('exec sleep 1000');
  await guardThem(guard, [guarded], 1);
  process.kill(guard.pid ?? 0, 'SIGSTOP');
  await until(() => readProcessStat(guard.pid ?? 0)?.state === 'T', 'it to be stopped');
  guard.times = inMs(100, 300);
  for (let round = 0; round < 2_000; round++) guard.times = inMs(4_000, 8_000);
  await new Promise((resolve) => setTimeout(resolve, 500));
  process.kill(guard.pid ?? 0, 'SIGCONT');
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.ok(runs(guarded));
});

test('who is taken off the list is left alone', async () => {
  const { guard } = newGuard();
  const [first, second] = [guest('exec sleep 1000'), guest('exec sleep 1000')];
  await guardThem(guard, [first.guarded, second.guarded], 2);
  await guardThem(guard, [second.guarded], 1);
  guard.times = inMs(0, 100);
  await until(() => !runs(second.guarded), 'its end');
  assert.ok(runs(first.guarded));
});

test('who is to be paused is stopped, and not ended', async () => {
  const { guard } = newGuard();
  const { guarded } = guest('exec sleep 1000', 'pause');
  await guardThem(guard, [guarded], 1);
  guard.times = inMs(0, 100);
  await until(() => readProcessStat(guarded.pid)?.state === 'T', 'it to be stopped');
  assert.ok(runs(guarded));
});

/** A daemon of its own, so that it can be killed. */
const daemon = `
import { GuardProcess } from ${JSON.stringify(new URL('../../src/guard/guard-process.ts', import.meta.url).href)};
import { boottimeMs } from ${JSON.stringify(new URL('../../src/system/boot-clock.ts', import.meta.url).href)};
const [pid, startTime, loseMs] = process.argv.slice(1).map(Number);
const now = boottimeMs();
const guard = new GuardProcess({ processes: true }, { loseAtMs: now + loseMs, killAtMs: now + loseMs + 2000, endMs: now + loseMs + 3000 });
guard.onReport((said) => said.is === 'guarding' && said.count === 1 && console.log(guard.pid));
guard.order({ do: 'processes', processes: [{ pid, startTime, action: 'poweroff' }] });
setInterval(() => undefined, 1000);
`;

/** Killed when it has a guard whose lock is lost so long after its start; gives the pid of the guard. */
async function killedDaemon({ pid, startTime }: GuardedProcess, loseMs: number): Promise<number> {
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '-e', daemon, ...[pid, startTime, loseMs].map(String)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  children.push(child);
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  child.kill('SIGKILL');
  return Number(said.toString());
}

test('the daemon is killed: a guest that hears SIGTERM is told to end before it is killed', async () => {
  const { guarded, child } = guest('exec sleep 1000');
  const ended = once(child, 'exit');
  const pid = await killedDaemon(guarded, 6_000);
  const startTime = processStartTime(pid) ?? 0;
  const [, signal] = (await ended) as [number | null, string | null];
  assert.equal(signal, 'SIGTERM');
  await until(() => !runs({ pid, startTime }), 'the end of the guard');
});

test('the daemon is killed, and the next one has a guard of its own: the first ends and touches nobody', async () => {
  const { guarded } = guest('exec sleep 1000');
  const pid = await killedDaemon(guarded, 60_000);
  const startTime = processStartTime(pid) ?? 0;
  const { guard } = newGuard();
  await guardThem(guard, [guarded], 1);
  await until(() => {
    if (runs({ pid, startTime })) process.kill(pid, 'SIGTERM');
    return !runs({ pid, startTime });
  }, 'the end of the first guard');
  assert.ok(runs(guarded));
});

test('the watchdog is fed while all is well, and again when nobody is left who could do harm', async () => {
  const device = join(folder, 'watchdog');
  execFileSync('mkfifo', [device]);
  const fd = openSync(device, constants.O_RDONLY | constants.O_NONBLOCK);
  const fed = (): string => {
    const buffer = Buffer.alloc(1024);
    try {
      return buffer.toString('latin1', 0, readSync(fd, buffer));
    } catch {
      return ''; // Nothing was written.
    }
  };
  const { guard } = newGuard(device);
  // It cannot be killed from here: a guest in the list whose end is not seen.
  const { guarded, child } = guest('exec sleep 1000', 'poweroff');
  await guardThem(guard, [guarded], 1);
  await until(() => fed().includes('\0'), 'it to be fed');
  await until(() => fed().includes('\0'), 'it to be fed again');
  guard.times = inMs(0, 5_000);
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  fed();
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  assert.equal(fed(), '', 'not while it is lost and the guest runs');
  const ended = once(child, 'exit');
  await ended;
  await until(() => fed().includes('\0'), 'it to be fed when the guest is gone');
  guard.order({ do: 'end' });
  await guard.ended;
  assert.match(fed(), /V$/);
  closeSync(fd);
});

test('a guard that is killed does not tell the watchdog to stand still; one without a device says so', async () => {
  const device = join(folder, 'watchdog-killed');
  execFileSync('mkfifo', [device]);
  const fd = openSync(device, constants.O_RDONLY | constants.O_NONBLOCK);
  const { guard } = newGuard(device);
  let said = '';
  await until(() => {
    const buffer = Buffer.alloc(64);
    try {
      said += buffer.toString('latin1', 0, readSync(fd, buffer));
    } catch {
      // Nothing was written.
    }
    return said.includes('\0');
  }, 'it to be fed');
  guard.kill();
  await guard.ended;
  const rest = Buffer.alloc(64);
  assert.doesNotMatch(rest.toString('latin1', 0, readSync(fd, rest)), /V/);
  closeSync(fd);
  const { reports } = newGuard(join(folder, 'no-such-device'));
  await until(() => reports.some(({ is }) => is === 'not fed'), 'it to say so');
});
