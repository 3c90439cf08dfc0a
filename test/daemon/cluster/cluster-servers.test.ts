/** What the daemon says of the servers of its cluster, and that it does not wait for them. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { versionNote } from '../../../src/drivers/etcd/version-note.js';
import { startClusterHost, type ClusterHost } from '../../beds/cluster-host.js';
import { startEtcd, type EtcdCluster } from '../../beds/etcd.js';
import { privateFolder } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = privateFolder();

describe('the servers of the cluster', { skip: lacks('root', 'unshare', 'etcd') }, () => {
  let etcd: EtcdCluster;
  const hosts: ClusterHost[] = [];
  before(async () => {
    etcd = await startEtcd(folder);
  });
  after(async () => {
    for (const host of hosts) await host.stop();
    await etcd?.stop();
  });

  async function hostOn(name: string, endpoints: readonly string[]): Promise<ClusterHost> {
    const host = await startClusterHost(folder, name, { endpoints });
    hosts.push(host);
    return host;
  }

  test('a version with a fault is named at the start', async (t) => {
    const { version } = await (await etcd.client()).status();
    const note = versionNote(version);
    if (note === undefined) return t.skip(`etcd ${version} has no fault that matters here`);
    const host = await hostOn('hosta', etcd.endpoints);
    const said = (): Readonly<Record<string, unknown>> | undefined =>
      host.log().find(({ msg }) => msg === 'cluster: server with a fault');
    await until(() => said() !== undefined, 'the daemon to say so');
    assert.deepEqual(
      { server: said()?.['server'], version: said()?.['version'], note: said()?.['note'] },
      { server: etcd.endpoints[0], version, note },
    );
  });

  test('a server that does not answer delays no start, and is named', async () => {
    etcd.members[0]?.signal('SIGSTOP');
    try {
      const host = await hostOn('hostb', etcd.endpoints);
      const said = (): number => host.log().findIndex(({ msg }) => msg === 'cluster: server does not answer');
      await until(() => said() >= 0, 'the daemon to say so');
      const serving = host.log().findIndex(({ msg }) => msg === 'serving the API');
      assert.ok(serving >= 0 && serving < said());
    } finally {
      etcd.members[0]?.signal('SIGCONT');
    }
  });
});
