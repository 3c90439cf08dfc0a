/** Hosts and an etcd, in a network of their own. Needs root. */
import { lacks } from '../needs.js';
import { ChaosHost } from './chaos-host.js';
import { startMembers, type EtcdMember } from './etcd-member.js';
import { History } from './history.js';
import { Network } from './network.js';
import { lacksProcessGroups } from './process-group.js';

/** As the `skip` option of a test takes it. */
export function lacksCluster(): string | false {
  return lacks('root', 'unshare', 'etcd', 'losetup', 'mkfs.ext4', 'perl') || lacksProcessGroups();
}

export interface ClusterOptions {
  /** A private one of the test. */
  readonly folder: string;
  /** Of etcd. Default 3. */
  readonly members?: number;
  readonly hosts: number;
  readonly ttlSeconds: number;
}

export class Cluster {
  readonly network: Network;
  readonly members: readonly EtcdMember[];
  readonly hosts: readonly ChaosHost[];
  readonly history: History;

  private constructor(parts: Pick<Cluster, 'network' | 'members' | 'hosts' | 'history'>) {
    ({ network: this.network, members: this.members, hosts: this.hosts, history: this.history } = parts);
  }

  /** Returns when etcd answers. */
  static async start({
    folder,
    members: size = 3,
    hosts: count,
    ttlSeconds,
  }: ClusterOptions): Promise<Cluster> {
    const names = [...numbered('e', size), ...numbered('h', count)];
    const history = new History();
    const network = await Network.start(folder, names);
    const members = await startMembers(network.nodes.slice(0, size));
    const endpoints = members.map(({ endpoint }) => endpoint);
    const hosts = network.nodes
      .slice(size)
      .map((node) => new ChaosHost({ folder, network, node, endpoints, ttlSeconds, history }));
    return new Cluster({ network, members, hosts, history });
  }

  async stop(): Promise<void> {
    for (const host of this.hosts) await host.remove();
    await Promise.all(this.members.map((member) => member.kill()));
    this.network.stop();
  }

  /** Throws where the test asks for more hosts than it has started. */
  host(index: number): ChaosHost {
    const host = this.hosts[index];
    if (host === undefined) throw new Error(`there is no host ${index}`);
    return host;
  }
}

function numbered(letter: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${letter}${index + 1}`);
}
