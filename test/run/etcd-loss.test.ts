/** `holdfast run --driver etcd` when etcd is gone for longer than the lease: each of the four actions, and a real etcd. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import etcdDriver from '../../src/drivers/etcd/etcd.js';
import { Keys } from '../../src/drivers/etcd/keys.js';
import { HoldfastError } from '../../src/errors.js';
import { readProcessStat } from '../../src/system/process.js';
import { commandFolder, holdfast, start, type Running } from '../beds/command.js';
import { startEtcd, type EtcdCluster } from '../beds/etcd.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const skip = { skip: lacks('etcd'), timeout: 90_000 };
const configuration = join(folder, 'holdfast.toml');
/** As short as the driver takes. */
const ttlSeconds = 3;
let cluster: EtcdCluster;
let disks = 0;

before(async () => {
  if (skip.skip !== false) return;
  cluster = await startEtcd(join(folder, 'etcd'));
  writeFileSync(
    configuration,
    `[driver.etcd]\nendpoints = ["${cluster.endpoints.join('", "')}"]\nttl = ${ttlSeconds}\n`,
  );
});
after(() => cluster?.stop());

interface Run {
  readonly running: Running;
  readonly disk: string;
  /** Of each command that it has started, in their order. */
  readonly pids: () => readonly number[];
}

async function run(action: string, script = 'exec sleep 1000'): Promise<Run> {
  const disk = join(folder, `disk${++disks}.img`);
  const started = `${disk}.started`;
  writeFileSync(disk, '');
  writeFileSync(started, '');
  const words = ['run', '--config', configuration, '--driver', 'etcd', '--disk', disk];
  const command = ['sh', '-c', `echo $$ >>${started}; ${script}`];
  const running = start(holdfast, [...words, '--supervise', `--on-lost=${action}`, '--', ...command]);
  const pids = (): readonly number[] => readFileSync(started, 'utf8').split('\n').filter(Boolean).map(Number);
  await until(
    () => pids().length === 1,
    () => `the command to start: ${running.stderr}`,
  );
  const client = await cluster.client();
  await until(() => hasMarks(client), 'the session to be marked');
  return { running, disk, pids };
}

/** A session's mark is put a moment after its lease: without it a lease cannot be renewed. */
async function hasMarks(client: Awaited<ReturnType<EtcdCluster['client']>>): Promise<boolean> {
  const keys = new Keys('holdfast');
  const { kvs } = await client.range(keys.allLocks());
  const marks = await Promise.all(kvs.map(({ lease }) => client.range({ key: keys.session(lease) })));
  return marks.length > 0 && marks.every(({ count }) => count > 0);
}

const stateOf = (pid: number | undefined): string | undefined => readProcessStat(pid ?? 0)?.state;
/** D: a shell that has started something is not through with vfork(2) while that is stopped. */
const isStopped = (pid: number | undefined): boolean => ['T', 'D'].includes(stateOf(pid) ?? '');
const isGone = (pid: number | undefined): boolean => [undefined, 'Z'].includes(stateOf(pid));
const member = (): EtcdCluster['members'][number] => cluster.members[0] ?? assert.fail('no member');

test('poweroff: the command is ended, and the status says that the lock was lost', skip, async () => {
  const { running, pids } = await run('poweroff');
  member().signal('SIGSTOP');
  try {
    const { status, stderr } = await running.ended;
    assert.ok(isGone(pids()[0]));
    assert.equal(status, new HoldfastError('LOST', '').exitCode, stderr);
  } finally {
    member().signal('SIGCONT');
  }
});

test('restart: it is started again when etcd is back', skip, async () => {
  const { running, pids } = await run('restart');
  await member().kill();
  await until(() => isGone(pids()[0]), 'the end of the command');
  await member().start();
  await until(() => pids().length === 2, 'the next command');
  assert.notEqual(stateOf(pids()[1]), undefined);
  running.child.kill('SIGTERM');
  await running.exited;
});

test('ignore: it goes on', skip, async () => {
  const { running, pids } = await run('ignore');
  member().signal('SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, 1_500 * ttlSeconds));
  assert.equal(stateOf(pids()[0]), 'S');
  member().signal('SIGCONT');
  running.child.kill('SIGTERM');
  await running.exited;
});

for (const [how, goes] of [
  ['killed', () => member().kill()],
  ['frozen', () => Promise.resolve(member().signal('SIGSTOP'))],
] as const) {
  test(`pause: it goes on when etcd, which was ${how}, is back and nobody had the lock`, skip, async () => {
    const { running, pids } = await run('pause', 'while :; do sleep 0.1; done');
    await goes();
    await until(() => isStopped(pids()[0]), 'the pause');
    await (how === 'killed' ? member().start() : Promise.resolve(member().signal('SIGCONT')));
    await until(() => !isStopped(pids()[0]), 'the command to go on');
    assert.ok(!isGone(pids()[0]));
    assert.equal(pids().length, 1);
    running.child.kill('SIGTERM');
    await running.exited;
  });
}

test('pause: it never goes on when somebody else had the lock', skip, async () => {
  const { running, disk, pids } = await run('pause', 'while :; do sleep 0.1; done');
  const client = await cluster.client();
  const { kvs } = await client.range(new Keys('holdfast').allLocks());
  const [own] = kvs;
  assert.ok(own !== undefined, disk);
  const key = own.key.toString('utf8');
  // As if its lease had ended unseen, and another host had come and gone.
  await client.idempotentTxn({ compare: [], success: [{ delete: { key } }], failure: [] });
  await client.put({ key, value: 'another' });
  await client.idempotentTxn({ compare: [], success: [{ delete: { key } }], failure: [] });
  await until(() => isStopped(pids()[0]), 'the pause');
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  assert.ok(isStopped(pids()[0]));
  running.child.kill('SIGTERM');
  await running.exited;
  await until(() => isGone(pids()[0]), 'its end');
});

test('the driver says beforehand that its locks have to be renewed', () => {
  assert.equal(etcdDriver.about.renews, true);
});
