/** `holdfast list --cluster` and `holdfast break`, with a real etcd. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Keys } from '../../src/drivers/etcd/keys.js';
import { hostName } from '../../src/system/host.js';
import { commandFolder, holdfast, start, type Ended, type Running } from '../beds/command.js';
import { startEtcd, type EtcdCluster } from '../beds/etcd.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const skip = { skip: lacks('etcd'), timeout: 60_000 };
const configuration = join(folder, 'holdfast.toml');
let cluster: EtcdCluster;
let disks = 0;

before(async () => {
  if (skip.skip !== false) return;
  cluster = await startEtcd(join(folder, 'etcd'));
  writeFileSync(
    configuration,
    `drivers = ["etcd"]\n[driver.etcd]\nendpoints = ["${cluster.endpoints[0]}"]\n`,
  );
});
after(() => cluster?.stop());

function command(...words: readonly string[]): Promise<Ended> {
  const [name = '', ...rest] = words;
  return start(holdfast, [name, '--config', configuration, ...rest]).ended;
}

async function hold(action = 'poweroff'): Promise<{ readonly disk: string; readonly running: Running }> {
  const disk = join(folder, `disk${++disks}.img`);
  writeFileSync(disk, '');
  const words = ['run', '--config', configuration, '--disk', disk, '--supervise', `--on-lost=${action}`];
  const running = start(holdfast, [...words, '--', 'sh', '-c', 'echo started; exec sleep 1000']);
  await running.says('started');
  return { disk, running };
}

async function end(running: Running): Promise<void> {
  running.child.kill('SIGTERM');
  await running.exited;
}

test('list --cluster shows every hold by host, as text and as data', skip, async () => {
  assert.match((await command('list', '--cluster')).stdout, /^Nobody in the cluster holds anything/);
  const { disk, running } = await hold();
  const text = await command('list', '--cluster');
  assert.equal(text.status, 0, text.stderr);
  const [head = '', line = ''] = text.stdout.split('\n');
  assert.match(head, /^HOST +HELD BY +PID +SINCE +MODE +RESOURCE/);
  for (const part of [hostName(), 'sh', `${running.pid}`, 'exclusive', disk])
    assert.ok(line.includes(part), line);
  const data = JSON.parse((await command('list', '--cluster', '--json')).stdout) as {
    host: string;
    pid: number;
    locks: { label: string; identity: string; revision: number }[];
  }[];
  assert.equal(data.length, 1);
  assert.equal(data[0]?.pid, running.pid);
  assert.equal(data[0]?.locks[0]?.label, disk);
  await end(running);
});

test('list --cluster without a driver that reaches one says so', skip, async () => {
  const { status, stderr } = await command('list', '--cluster', '--driver', 'fcntl');
  assert.equal(status, 69);
  assert.match(stderr, /fcntl/);
});

test('a lock is not broken while its lease goes on, nor for the death of another host', skip, async () => {
  const { disk, running } = await hold();
  const refused = await command('break', disk);
  assert.equal(refused.status, 75, refused.stderr);
  assert.match(refused.stderr, /lease [0-9a-f]+ is not over/);
  assert.match(refused.stderr, /--host-is-dead/);
  const other = await command('break', '--host-is-dead=elsewhere', '--because=power cut', disk);
  assert.equal(other.status, 75, other.stderr);
  assert.equal((await command('break', '--host-is-dead=elsewhere', disk)).status, 64);
  assert.equal(running.child.exitCode, null);
  await end(running);
});

test(
  'the statement that the host is dead breaks it: the holder loses it, and the next token is larger',
  skip,
  async () => {
    const { disk, running } = await hold();
    const before = JSON.parse((await command('list', '--cluster', '--json')).stdout) as {
      locks: { identity: string; revision: number }[];
    }[];
    const identity = before[0]?.locks[0]?.identity ?? '';
    const broken = await command('break', `--host-is-dead=${hostName()}`, '--because=switched off', disk);
    assert.equal(broken.status, 0, broken.stderr);
    assert.match(broken.stdout, /is broken; it was held by/);
    const { status, stderr } = await running.ended;
    assert.equal(status, 74, stderr);
    assert.match(stderr, /switched off/);
    const client = await cluster.client();
    const { kvs } = await client.range(new Keys('holdfast').breaks(identity));
    assert.equal(kvs.length, 1);
    assert.match(kvs[0]?.value.toString() ?? '', /is dead: switched off/);
    const next = await start(holdfast, [
      ...['run', '--config', configuration, '--disk', disk, '--', 'sh', '-c', 'echo $HOLDFAST_TOKENS'],
    ]).ended;
    const token = Number(/:(\d+)/.exec(next.stdout.slice(next.stdout.lastIndexOf(':')))?.[1]);
    assert.ok(token > (before[0]?.locks[0]?.revision ?? Infinity), next.stdout + next.stderr);
  },
);

test('a lock without a lease is broken without a statement; what nobody has is no error', skip, async () => {
  const client = await cluster.client();
  const keys = new Keys('holdfast');
  const key = keys.lock({ identity: 'net:rbd:pool/left', mode: 'exclusive', holder: 'holder' });
  await client.put({ key, value: 'left behind' });
  const broken = await command('break', 'net:rbd:pool/left', '--json');
  assert.equal(broken.status, 0, broken.stderr);
  assert.equal((JSON.parse(broken.stdout) as { identity: string }).identity, 'net:rbd:pool/left');
  assert.deepEqual((await client.range({ key })).kvs, []);
  const again = await command('break', 'net:rbd:pool/left');
  assert.equal(again.status, 0);
  assert.match(again.stdout, /^Nobody/);
  assert.equal((await command('break')).status, 64);
});
