/** How the servers are, one by one. */
import type { ClusterServer } from '../../driver/contract.js';
import { causeText } from '../../errors.js';
import type { EtcdClient } from './client/etcd-client.js';
import type { Connection } from './connection.js';
import { versionNote } from './version-note.js';

/** Throws `CONFIG` if there can be no client. */
export async function examine(connection: Connection): Promise<readonly ClusterServer[]> {
  const client = await connection.client();
  const { endpoints } = connection.settings.client;
  return Promise.all(endpoints.map((name, endpoint) => server(client, name, endpoint)));
}

async function server(client: EtcdClient, name: string, endpoint: number): Promise<ClusterServer> {
  try {
    const { version, errors } = await client.status({ endpoint });
    const note = versionNote(version);
    const seen = {
      name,
      answers: true,
      version,
      ...(note === undefined ? {} : { note }),
      // What etcd says of a full disk: etcdserver/api/v3rpc/maintenance.go lists the alarms that are raised.
      full: errors.some((text) => text.includes('NOSPACE')),
    };
    // A linearizable read needs the majority, as a lock does.
    return await client.range({ key: 'holdfast', countOnly: true }, { endpoint }).then(
      () => ({ ...seen, decides: true }),
      (error: unknown) => ({ ...seen, decides: false, error: causeText(error) }),
    );
  } catch (error) {
    return { name, answers: false, decides: false, full: false, error: causeText(error) };
  }
}
