/** Holds of paused guests, with a driver that can give their locks back for a while. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { commandFolder } from '../../beds/command.js';
import { RunningDaemon } from '../../beds/running-daemon.js';

const folder = commandFolder();
const disk = join(folder, 'disk.img');
let daemon: RunningDaemon;

before(async () => {
  writeFileSync(disk, 'data');
  daemon = await RunningDaemon.start(folder, { args: ['--driver', 'memory'] });
});
after(() => daemon?.stop());

test('a hold is suspended and resumed, and is nobody’s in between', async () => {
  const { api } = daemon;
  const taken = await api.post('/v1/holds', { disks: [{ path: disk }] });
  const at = `/v1/holds/${taken.data.id}`;
  assert.deepEqual((await api.post(`${at}/resume`, {})).data.code, 'USAGE');
  const suspended = await api.ask('POST', `${at}/suspend`);
  assert.deepEqual([suspended.data.state, suspended.data.requests], ['suspended', []]);
  const other = await api.post('/v1/holds', { disks: [{ path: disk }] });
  assert.equal(other.status, 201, other.text);
  await api.ask('DELETE', `/v1/holds/${other.data.id}`);
  const lost = await api.post(`${at}/resume`, {});
  assert.deepEqual([lost.status, lost.data.code], [409, 'LOST']);
  await api.ask('DELETE', at);

  const again = await api.post('/v1/holds', { disks: [{ path: disk }] });
  await api.post(`/v1/holds/${again.data.id}/suspend`, {});
  const resumed = await api.post(`/v1/holds/${again.data.id}/resume`, {});
  assert.deepEqual([resumed.data.state, resumed.data.requests.length], ['held', 1], resumed.text);
});

test('who has a disk: the guest of a suspended hold, which keeps nobody out', async () => {
  const own = join(folder, 'fcntl');
  const image = join(own, 'disk.img');
  mkdirSync(own);
  writeFileSync(image, 'data');
  const fcntl = await RunningDaemon.start(own, {
    args: ['--driver', 'fcntl'],
    env: { HOLDFAST_RUNTIME_DIR: join(own, 'run') },
  });
  try {
    const { api } = fcntl;
    const wish = { disks: [{ path: image }] };
    const [uuid, otherUuid] = [randomUUID(), randomUUID()];
    const taken = await api.post('/v1/holds', { ...wish, owner: { name: 'web1', uuid } });
    assert.equal(taken.status, 201, taken.text);
    const at = `/v1/holds/${taken.data.id}`;
    assert.equal((await api.post(`${at}/suspend`, {})).data.state, 'suspended');
    const [use] = (await api.post('/v1/who', wish)).data;
    const { guest, pid, since, refuses, through } = use.holders[0];
    assert.deepEqual(
      [use.state, use.holders.length, guest, pid, since, refuses],
      ['in use', 1, 'web1', process.pid, taken.data.since, []],
      JSON.stringify(use),
    );
    assert.deepEqual(through, ['holdfastd (fcntl): suspended, nothing is locked']);
    assert.equal((await api.post('/v1/plan', wish)).data.states[0].free, true);

    const other = await api.post('/v1/holds', { ...wish, owner: { name: 'web2', uuid: otherUuid } });
    assert.equal(other.status, 201, other.text);
    const [shared] = (await api.post('/v1/who', wish)).data;
    const named = shared.holders.map((holder: { guest: string; refuses: string[] }) => [
      holder.guest,
      holder.refuses.length > 0,
    ]);
    assert.deepEqual(named.toSorted(), [
      ['web1', false],
      ['web2', true],
    ]);
    const refused = await api.post(`${at}/resume`, {});
    assert.deepEqual([refused.status, refused.data.code], [409, 'IN_USE']);
    assert.deepEqual(
      refused.data.holders.map((holder: { guest: string }) => holder.guest),
      ['web2'],
      refused.text,
    );
  } finally {
    await fcntl.stop();
  }
});

test('what a driver keeps nowhere but in the daemon is lost with it, and said to be', async () => {
  await daemon.kill();
  assert.deepEqual((await daemon.api.get('/v1/holds')).data, []);
  assert.match((await daemon.api.get('/metrics')).text, /^holdfast_losses_total 1$/m);
});
