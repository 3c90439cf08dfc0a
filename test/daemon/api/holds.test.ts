/** Holds through the API of a real daemon: taken, refused, changed, given back. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { commandFolder } from '../../beds/command.js';
import { RunningDaemon } from '../../beds/running-daemon.js';
import { until } from '../../beds/until.js';
import fcntl from '../../../src/drivers/fcntl/fcntl.js';
import { openManager } from '../../../src/index.js';

const folder = commandFolder();
const kernel = await fcntl.start({ libvirt_config_dirs: [] });
const manager = openManager({ configuration: false });
let daemon: RunningDaemon;
let count = 0;

before(async () => {
  daemon = await RunningDaemon.start(folder);
});
after(() => manager.close());

function newDisk(): string {
  const path = join(folder, `disk-${++count}.img`);
  writeFileSync(path, 'data');
  return path;
}

/** As the kernel has it, asked from outside. */
async function isFree(path: string): Promise<boolean> {
  const { requests } = await manager.plan({ disks: [path] });
  return ((await kernel.probe?.(requests)) ?? []).every(({ free }) => free);
}

async function owner(): Promise<{ readonly pid: number; readonly end: () => Promise<void> }> {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  await once(child, 'spawn');
  const end = async (): Promise<void> => {
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  return { pid: child.pid ?? 0, end };
}

const uuidOf = (n: number): string => `11111111-2222-4333-8444-${String(n).padStart(12, '0')}`;

test('a hold is taken, listed, refused to others by name, and given back', async () => {
  const path = newDisk();
  const guest = { name: 'web1', uuid: uuidOf(1) };
  const taken = await daemon.api.post('/v1/holds', { disks: [{ path }], owner: guest });
  assert.equal(taken.status, 201, taken.text);
  assert.equal(taken.data.owner.pid, process.pid);
  assert.equal(taken.data.owner.name, 'web1');
  assert.equal(taken.data.state, 'held');
  assert.equal(await isFree(path), false);
  const modes = taken.data.requests.map(({ resource, mode }: never) => [resource['kind'], mode]);
  assert.deepEqual(new Set(modes.map(String)), new Set(['domain,exclusive', 'disk,exclusive']));

  const refused = await daemon.api.post('/v1/holds', { disks: [{ path, mode: 'read' }] });
  assert.equal(refused.status, 409);
  assert.equal(refused.data.code, 'IN_USE');
  assert.equal(refused.data.resource, path);
  assert.equal(refused.data.holders[0].guest, 'web1');
  const use = await daemon.api.post('/v1/who', { disks: [{ path }] });
  assert.equal(use.data[0].state, 'in use');
  assert.equal(use.data[0].holders[0].guest, 'web1');
  const plan = await daemon.api.post('/v1/plan', { disks: [{ path }] });
  assert.deepEqual([plan.status, plan.data.granted], [200, false]);

  const one = await daemon.api.get(`/v1/holds/${taken.data.id}`);
  assert.deepEqual(one.data, taken.data);
  assert.deepEqual((await daemon.api.get('/v1/holds')).data, [taken.data]);
  const gone = await daemon.api.ask('DELETE', `/v1/holds/${taken.data.id}`);
  assert.deepEqual([gone.status, gone.text], [204, '']);
  assert.equal(await isFree(path), true);
  for (const [method, at] of [
    ['GET', ''],
    ['DELETE', ''],
  ] as const) {
    const missing = await daemon.api.ask(method, `/v1/holds/${taken.data.id}${at}`);
    assert.deepEqual([missing.status, missing.data.code], [404, 'NO_SUCH_HOLD']);
  }
  assert.deepEqual(readdirSync(join(folder, 'run/holds')), []);
  assert.deepEqual(readdirSync(join(folder, 'run/api-holds')), []);
});

test('requests that another manager has planned are locked as they are', async () => {
  const path = newDisk();
  const { requests } = await manager.plan({ disks: [`${path}:shared`] });
  const guest = { kind: 'command', name: 'copy', uuid: uuidOf(2), pid: process.pid };
  const taken = await daemon.api.post('/v1/holds', { requests, owner: guest });
  assert.equal(taken.status, 201, taken.text);
  assert.deepEqual(taken.data.requests, JSON.parse(JSON.stringify(requests)));
  const both = await daemon.api.post('/v1/holds', { requests, disks: [{ path }], owner: guest });
  assert.deepEqual([both.status, both.data.code], [400, 'BAD_DATA']);
  await daemon.api.ask('DELETE', `/v1/holds/${taken.data.id}`);
});

test('disks are added and given back one by one', async () => {
  const [one, two] = [newDisk(), newDisk()];
  const taken = await daemon.api.post('/v1/holds', { disks: [{ path: one }] });
  const at = `/v1/holds/${taken.data.id}`;
  const more = await daemon.api.post(`${at}/extend`, { disks: [{ path: two }] });
  assert.equal(more.status, 200, more.text);
  assert.equal(more.data.requests.length, 2);
  assert.deepEqual([await isFree(one), await isFree(two)], [false, false]);
  const same = await daemon.api.post(`${at}/extend`, { disks: [{ path: two }] });
  assert.equal(same.status, 200, same.text);
  const less = await daemon.api.post(`${at}/shrink`, { names: [one] });
  assert.equal(less.status, 200, less.text);
  assert.deepEqual([await isFree(one), await isFree(two)], [true, false]);
  const none = await daemon.api.post(`${at}/shrink`, { names: ['vdz'] });
  assert.deepEqual([none.status, none.data.code], [400, 'USAGE']);
  const shared = await daemon.api.post('/v1/holds', { disks: [{ path: one, mode: 'shared' }] });
  const unable = await daemon.api.post(`/v1/holds/${shared.data.id}/suspend`, {});
  assert.deepEqual([unable.status, unable.data.code], [501, 'UNSUPPORTED']);
  assert.equal((await daemon.api.get(`/v1/holds/${shared.data.id}`)).data.state, 'held');
  await daemon.api.ask('DELETE', `/v1/holds/${shared.data.id}`);
  await daemon.api.ask('DELETE', at);
  assert.equal(await isFree(two), true);
});

test('a hold ends with the process that has it, which can be handed on', async () => {
  const path = newDisk();
  const [first, second] = [await owner(), await owner()];
  const taken = await daemon.api.post('/v1/holds', {
    disks: [{ path }],
    owner: { name: 'web3', uuid: uuidOf(3), pid: first.pid },
  });
  assert.equal(taken.data.owner.pid, first.pid);
  const at = `/v1/holds/${taken.data.id}`;
  const handed = await daemon.api.post(`${at}/hand-over`, { pid: second.pid });
  assert.equal(handed.data.owner.pid, second.pid, handed.text);
  await first.end();
  await new Promise((resolve) => setTimeout(resolve, 600));
  assert.equal((await daemon.api.get(at)).status, 200);
  await second.end();
  await until(() => isFree(path), 'the end of the hold');
  assert.equal((await daemon.api.get(at)).status, 404);
  const late = await daemon.api.post('/v1/holds', {
    disks: [{ path }],
    owner: { name: 'web3', uuid: uuidOf(3), pid: second.pid },
  });
  assert.deepEqual([late.status, late.data.code], [400, 'BAD_DATA']);
});

test('who waits gets it as soon as it is free; who goes away meanwhile has nothing', async () => {
  const path = newDisk();
  const taken = await daemon.api.post('/v1/holds', { disks: [{ path }] });
  const waiting = daemon.api.post('/v1/holds', { disks: [{ path }], wait: true });
  const given = daemon.api.send('POST', '/v1/holds', { disks: [{ path }], wait: true });
  given.on('error', () => undefined);
  await until(
    async () => (await daemon.api.get('/metrics')).text.includes('holdfast_waits_total 2'),
    'both to wait',
  );
  given.destroy();
  const late = await daemon.api.post('/v1/holds', { disks: [{ path }], wait: 30 });
  assert.deepEqual([late.status, late.data.code], [409, 'TIMEOUT']);
  await daemon.api.ask('DELETE', `/v1/holds/${taken.data.id}`);
  const got = await waiting;
  assert.equal(got.status, 201, got.text);
  await daemon.api.ask('DELETE', `/v1/holds/${got.data.id}`);
  assert.equal(await isFree(path), true);
  assert.deepEqual((await daemon.api.get('/v1/holds')).data, []);
});

test('input that is wrong is told so', async () => {
  const path = newDisk();
  const cases: readonly (readonly [unknown, number, string])[] = [
    [{}, 400, 'USAGE'],
    [{ diks: [] }, 400, 'BAD_DATA'],
    [{ disks: [{ path: 'relative.img' }] }, 400, 'BAD_DATA'],
    [{ disks: [{ path, mode: 'mine' }] }, 400, 'BAD_DATA'],
    [{ disks: [{ path, more: 1 }] }, 400, 'BAD_DATA'],
    [{ disks: [{ path }], wait: -1 }, 400, 'BAD_DATA'],
    [{ disks: [{ path: join(folder, 'missing.img') }] }, 404, 'NO_SUCH_FILE'],
    [{ xml: '<domain' }, 400, 'XML_SYNTAX'],
    [{ disks: [{ path }], owner: { name: 'x', uuid: 'none' } }, 400, 'BAD_DATA'],
    [{ disks: [{ path }], owner: { name: 'x', uuid: uuidOf(9), startTime: 1 } }, 400, 'BAD_DATA'],
    [{ disks: [{ path }], witness: join(folder, 'no-witness') }, 400, 'BAD_DATA'],
    [{ leases: [{ lockspace: '..', key: 'a' }] }, 400, 'BAD_DATA'],
    ['{ "disks": ', 400, 'USAGE'],
  ];
  for (const [body, status, code] of cases) {
    const answer = await daemon.api.post('/v1/holds', body);
    assert.deepEqual([answer.status, answer.data?.code], [status, code], JSON.stringify(body) + answer.text);
    assert.ok(answer.data.remedy.length > 0);
  }
  const large = daemon.api.send('POST', '/v1/plan', undefined, {
    'content-type': 'application/json',
    'content-length': String(17 * 1024 * 1024 + 1),
  });
  const [response] = (await once(large, 'response')) as [IncomingMessage];
  assert.equal(response.statusCode, 413);
  large.destroy();
  assert.equal((await daemon.api.get('/v1/nothing')).status, 404);
  assert.equal((await daemon.api.get('/v1/holds?more=1')).status, 400);
  assert.deepEqual((await daemon.api.get('/v1/holds')).data, []);
});

test('health and drivers', async () => {
  const health = await daemon.api.get('/v1/health');
  assert.deepEqual(
    [health.data.status, health.data.pid, health.data.restarts, health.data.holds],
    ['ok', daemon.pid, 0, 0],
  );
  const drivers = await daemon.api.get('/v1/drivers');
  assert.deepEqual(
    drivers.data.map(({ name }: { name: string }) => name),
    ['fcntl'],
  );
  assert.ok(drivers.data[0].abilities.includes('adopt'));
});

test('told to end, it ends, and its sockets go with it', async () => {
  assert.equal(await daemon.stop(), 0);
  assert.deepEqual(readdirSync(join(folder, 'sockets')), []);
});
