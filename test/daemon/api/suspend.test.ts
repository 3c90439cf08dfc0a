/** Holds of paused guests, with a driver that can give their locks back for a while. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
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

test('what a driver keeps nowhere but in the daemon is lost with it, and said to be', async () => {
  await daemon.kill();
  assert.deepEqual((await daemon.api.get('/v1/holds')).data, []);
  assert.match((await daemon.api.get('/metrics')).text, /^holdfast_losses_total 1$/m);
});
