import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkCluster, clusterFindings } from '../../src/doctor/check-cluster.js';
import { startEtcd } from '../beds/etcd.js';
import { privateRuntime } from '../beds/private-folder.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = privateRuntime();

function configured(lines: string): string {
  const file = join(folder, 'holdfast.toml');
  writeFileSync(file, lines);
  return file;
}

test('without a driver that has servers there is nothing to say', async () => {
  assert.deepEqual(await checkCluster(configured('drivers = ["fcntl"]\n')), []);
});

test('a cluster that decides, with a server away, full, and of an old version', () => {
  const found = clusterFindings([
    { name: 'a', answers: true, decides: true, full: true, version: '3.4.0', note: 'it is old' },
    { name: 'b', answers: false, decides: false, full: false, error: 'refused' },
  ]);
  const all = ['cluster-decides', 'cluster-server-away', 'cluster-full', 'cluster-version'];
  assert.deepEqual(
    found.map(({ id }) => id),
    all,
  );
  assert.deepEqual(found[1]?.evidence, ['refused']);
});

test('a real etcd: well, full, and gone', { skip: lacks('etcd'), timeout: 60_000 }, async () => {
  const quota = 64 * 1024;
  const cluster = await startEtcd(join(folder, 'etcd'), { arguments: [`--quota-backend-bytes=${quota}`] });
  try {
    const endpoints = `"${cluster.endpoints.join('", "')}"`;
    const file = configured(`drivers = ["etcd"]\n[driver.etcd]\nendpoints = [${endpoints}]\ntimeout = 1\n`);
    const ids = async (): Promise<readonly string[]> => (await checkCluster(file)).map(({ id }) => id);
    assert.ok((await ids()).includes('cluster-decides'));
    assert.ok(!(await ids()).includes('cluster-full'));
    const client = await cluster.client();
    const value = 'x'.repeat(quota / 4);
    // etcd sees what its file has grown to when it writes it, some time after it has answered.
    await until(async () => {
      await client.put({ key: 'big', value }).catch(() => undefined);
      return (await ids()).includes('cluster-full');
    }, 'etcd to be full');
    await cluster.members[0]?.kill();
    assert.deepEqual(await ids(), ['cluster-undecided']);
  } finally {
    await cluster.stop();
  }
});
