/**
 * Holds of the API outlive the daemon: killed, replaced, killed together with its keeper. An outside process tries all the
 * time to take their disks.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import fcntl from '../../../src/drivers/fcntl/fcntl.js';
import { openManager } from '../../../src/index.js';
import { readProcessStat } from '../../../src/system/process.js';
import { commandFolder } from '../../beds/command.js';
import { DiskTaker } from '../../beds/disk-taker.js';
import { isAlive } from '../../beds/lockd.js';
import { RunningDaemon } from '../../beds/running-daemon.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = commandFolder();
const kernel = await fcntl.start({ libvirt_config_dirs: [] });
let count = 0;
let daemon: RunningDaemon | undefined;
const children: ChildProcess[] = [];

afterEach(async () => {
  await daemon?.stop();
  daemon = undefined;
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

async function startDaemon(): Promise<RunningDaemon> {
  daemon = await RunningDaemon.start(folder);
  return daemon;
}

function newDisk(): string {
  const path = join(folder, `disk-${++count}.img`);
  writeFileSync(path, 'data');
  return path;
}

/** As the kernel has it, asked from outside. */
async function isFree(path: string): Promise<boolean> {
  await using manager = openManager({ configuration: false });
  const { requests } = await manager.plan({ disks: [path] });
  return ((await kernel.probe?.(requests)) ?? []).every(({ free }) => free);
}

async function newOwner(): Promise<ChildProcess & { readonly pid: number }> {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  children.push(child);
  await once(child, 'spawn');
  return child as ChildProcess & { readonly pid: number };
}

async function end(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

interface Hold {
  readonly id: string;
  readonly requests: readonly { readonly resource: { readonly label: string } }[];
}

async function take(
  { api }: RunningDaemon,
  paths: readonly string[],
  more: Readonly<Record<string, unknown>> = {},
): Promise<Hold> {
  const answer = await api.post('/v1/holds', { disks: paths.map((path) => ({ path })), ...more });
  assert.equal(answer.status, 201, answer.text);
  return answer.data as Hold;
}

const ownerOf = (pid: number, n: number): Readonly<Record<string, unknown>> => ({
  owner: { name: `web${n}`, uuid: `22222222-2222-4333-8444-${String(n).padStart(12, '0')}`, pid },
});

describe('holds of the API outlive the daemon', { skip: lacks('perl') }, () => {
  test('killed again and again: what is held stays held, and can be changed and given back', async () => {
    const { api } = await startDaemon();
    const [one, two] = [newDisk(), newDisk()];
    const owner = await newOwner();
    const { id } = await take(daemon!, [one], ownerOf(owner.pid, 1));
    const taker = DiskTaker.start(folder, [one]);
    await taker.untilWaiting();
    for (const signal of ['SIGKILL', 'SIGSEGV', 'SIGKILL'] as const) {
      await daemon!.kill(signal);
      assert.deepEqual(
        (await api.get('/v1/holds')).data.map((hold: Hold) => hold.id),
        [id],
      );
    }
    const more = await api.post(`/v1/holds/${id}/extend`, { disks: [{ path: two }] });
    assert.equal(more.status, 200, more.text);
    await daemon!.kill();
    assert.deepEqual([await isFree(one), await isFree(two)], [false, false]);
    const less = await api.post(`/v1/holds/${id}/shrink`, { names: [two] });
    assert.equal(less.status, 200, less.text);
    await daemon!.kill();
    assert.deepEqual([await isFree(one), await isFree(two)], [false, true]);
    // Replaced by what is on the disk now.
    const before = daemon!.pids.length;
    process.kill(daemon!.keeper.pid, 'SIGHUP');
    await daemon!.served(before + 1);
    assert.deepEqual(taker.taken, []);
    assert.equal((await api.ask('DELETE', `/v1/holds/${id}`)).status, 204);
    await until(() => taker.taken.length > 0, 'the taker to get what was given back');
    await taker.stop();
    assert.deepEqual(readdirSync(join(folder, 'run/holds')), []);
    assert.deepEqual(readdirSync(join(folder, 'run/api-holds')), []);
    assert.match((await api.get('/metrics')).text, /^holdfast_restarts_total 6$/m);
  });

  test('the end of an owner frees what it had: while no daemon runs, and after a restart', async () => {
    await startDaemon();
    const [one, two] = [newDisk(), newDisk()];
    const [first, second] = [await newOwner(), await newOwner()];
    await take(daemon!, [one], ownerOf(first.pid, 2));
    await take(daemon!, [two], ownerOf(second.pid, 3));
    const times = daemon!.pids.length;
    process.kill(daemon!.pid, 'SIGKILL');
    await end(first);
    await daemon!.served(times + 1);
    await until(() => isFree(one), 'the hold of an owner that is gone to end');
    assert.equal(await isFree(two), false);
    await end(second);
    await until(() => isFree(two), 'the hold to end with its owner');
    assert.deepEqual((await daemon!.api.get('/v1/holds')).data, []);
  });

  test('more descriptors than one message has room for', async () => {
    await startDaemon();
    const disks = Array.from({ length: 300 }, newDisk);
    const owner = await newOwner();
    const { id } = await take(daemon!, disks, ownerOf(owner.pid, 4));
    await daemon!.kill();
    const found = await daemon!.api.get(`/v1/holds/${id}`);
    assert.equal((found.data as Hold).requests.length, disks.length + 1, found.text);
    assert.equal(await isFree(disks.at(-1) ?? ''), false);
    await daemon!.api.ask('DELETE', `/v1/holds/${id}`);
    assert.equal(await isFree(disks[0] ?? ''), true);
  });

  test('the keeper is killed, or another one takes over: what is held stays held, and is kept by the next', async () => {
    const before = await startDaemon();
    const path = newDisk();
    const owner = await newOwner();
    const { id } = await take(before, [path], ownerOf(owner.pid, 11));
    const taker = DiskTaker.start(folder, [path]);
    await taker.untilWaiting();
    const parentOf = (pid: number): number => readProcessStat(pid)?.ppid ?? 0;
    const keeper = before.keeper.pid;
    process.kill(keeper, 'SIGKILL');
    const { pid } = before;
    // The daemon runs on, and starts another keeper.
    await until(() => !existsSync(`/proc/${keeper}`) && parentOf(pid) !== keeper, 'the end of the keeper');
    assert.equal((await before.api.get(`/v1/holds/${id}`)).status, 200);

    daemon = await RunningDaemon.start(folder, { args: ['--take-over'] });
    await until(() => !isAlive(pid), 'the daemon before to end');
    assert.equal((await daemon.api.get(`/v1/holds/${id}`)).status, 200);
    await daemon.kill();
    assert.equal((await daemon.api.get(`/v1/holds/${id}`)).status, 200);
    assert.deepEqual(taker.taken, []);
    await taker.stop();
    await daemon.api.ask('DELETE', `/v1/holds/${id}`);
    assert.equal(await isFree(path), true);
  });

  test('keeper and daemon killed: what owners that live had is taken again', async () => {
    const before = await startDaemon();
    const [one, two] = [newDisk(), newDisk()];
    const [lives, dies] = [await newOwner(), await newOwner()];
    const { id } = await take(before, [one], ownerOf(lives.pid, 5));
    await take(before, [two], ownerOf(dies.pid, 6));
    await before.killBoth();
    await end(dies);
    assert.equal(await isFree(one), true);
    const { api } = await startDaemon();
    assert.deepEqual(
      (await api.get('/v1/holds')).data.map((hold: Hold) => hold.id),
      [id],
    );
    assert.deepEqual([await isFree(one), await isFree(two)], [false, true]);
    // And it is kept again.
    await daemon!.kill();
    assert.equal(await isFree(one), false);
    await end(lives);
    await until(() => isFree(one), 'the hold to end with its owner');
  });

  test('keeper and daemon killed: what somebody else has by now is lost, and said to be', async () => {
    const before = await startDaemon();
    const path = newDisk();
    const owner = await newOwner();
    await take(before, [path], ownerOf(owner.pid, 7));
    await before.killBoth();
    await using manager = openManager({ configuration: false });
    const thief = await manager.lock({ disks: [path] });
    const after = await startDaemon();
    assert.deepEqual((await after.api.get('/v1/holds')).data, []);
    assert.match((await after.api.get('/metrics')).text, /^holdfast_losses_total 1$/m);
    assert.ok(after.lines.some(({ msg }) => msg === 'lost'));
    await thief.release();
  });

  test('after a restart the same owner may ask again for what it has, once; nobody else may', async () => {
    const { api } = await startDaemon();
    const path = newDisk();
    const owner = await newOwner();
    const asked = { disks: [{ path }], ...ownerOf(owner.pid, 8) };
    const { id } = await take(daemon!, [path], ownerOf(owner.pid, 8));
    assert.equal((await api.post('/v1/holds', asked)).status, 409);
    await daemon!.kill();
    assert.equal((await api.post('/v1/holds', { disks: [{ path }] })).status, 409);
    const again = await api.post('/v1/holds', asked);
    assert.deepEqual([again.status, again.data.id], [201, id], again.text);
    assert.equal((await api.post('/v1/holds', asked)).status, 409);
  });

  test('a witness keeps a hold whose owner has ended, also over a restart', async () => {
    const { api } = await startDaemon();
    const path = newDisk();
    const witnesses = join(folder, 'run/witnesses');
    mkdirSync(witnesses, { recursive: true, mode: 0o700 });
    const witness = join(witnesses, 'one');
    writeFileSync(witness, '', { mode: 0o600 });
    const [owner, heir] = [await newOwner(), await lockWitness(witness)];
    const { id } = await take(daemon!, [path], { ...ownerOf(owner.pid, 9), witness });
    const same = await api.post('/v1/holds', { disks: [{ path }], ...ownerOf(owner.pid, 9), witness });
    assert.deepEqual([same.status, same.data.id], [201, id]);
    await end(owner);
    await until(
      async () => (await api.get(`/v1/holds/${id}`)).data.ownerEnded === true,
      'the end of the owner',
    );
    await daemon!.kill();
    assert.equal(await isFree(path), false);
    assert.equal((await api.get(`/v1/holds/${id}`)).data.witness, witness);
    await end(heir);
    await until(() => isFree(path), 'the hold to end with its witness');
    await until(() => readdirSync(witnesses).length === 0, 'the end of the witness');
  });

  test('killed in the middle of changes: each disk is held that is listed, and no other', async () => {
    const { api } = await startDaemon();
    const disks = Array.from({ length: 4 }, newDisk);
    const [stays = '', ...moving] = disks;
    const owner = await newOwner();
    const { id } = await take(daemon!, [stays], ownerOf(owner.pid, 10));
    const taker = DiskTaker.start(folder, [stays]);
    await taker.untilWaiting();
    const at = `/v1/holds/${id}`;
    let changing = true;
    const changes = (async () => {
      for (let round = 0; changing; round++) {
        const path = moving[round % moving.length] ?? '';
        // The answer may be lost with the daemon.
        await api.post(`${at}/extend`, { disks: [{ path }], allowUnlocked: true }).catch(() => undefined);
        await api.post(`${at}/shrink`, { names: [path] }).catch(() => undefined);
      }
    })();
    for (let kill = 0; kill < 8; kill++) {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 100));
      await daemon!.kill();
    }
    changing = false;
    await changes;
    const found = await api.get(at);
    assert.equal(found.status, 200, JSON.stringify(daemon!.lines.filter(({ msg }) => msg === 'lost')));
    const held = found.data as Hold;
    const labels = held.requests.map(({ resource }) => resource.label);
    for (const path of disks) assert.equal(await isFree(path), !labels.includes(path), path);
    assert.ok(labels.includes(stays));
    assert.deepEqual(taker.taken, []);
    await taker.stop();
    await api.ask('DELETE', at);
    for (const path of disks) assert.equal(await isFree(path), true, path);
  });
});

/** A process that has a file locked, as whoever inherits a witness has. */
async function lockWitness(path: string): Promise<ChildProcess> {
  const program = `open my $f, '+<', $ARGV[0] or die $!; my $lock = pack 'ssx4qqlx4', 1, 0, 0, 1, 0; fcntl $f, 37, $lock or die $!; $| = 1; print 'locked'; sleep 1000`;
  const child = spawn('perl', ['-e', program, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  await once(child.stdout, 'data');
  return child;
}
