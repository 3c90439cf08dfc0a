/** A member of an etcd cluster on a host of the test's network, with a disk of its own, which can be made to hang. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { start, type Running } from '../beds/command.js';
import { until } from '../beds/until.js';
import type { Node } from './network.js';

/** Sparse; etcd makes each file of its log 64 MB long ahead of time, and needs two beyond those that it keeps. */
const diskMegabytes = 768;
/** With etcd's own 5, and as many entries between two snapshots as it has them, an hour filled the disk and a member's log broke. */
const logFilesKept = 2;
const entriesBetweenSnapshots = 10_000;
/** Small enough to be filled within a second. */
const quotaBytes = 24 * 1024 * 1024;
const clientPort = 2379;

export class EtcdMember {
  readonly node: Node;
  readonly endpoint: string;
  readonly #initial: string;
  readonly #mount: string;
  readonly #electionMs: number;
  #running: Running | undefined;

  /** @param nodes all that have a member */
  constructor(node: Node, nodes: readonly Node[], electionMs = 1_000) {
    this.node = node;
    this.endpoint = `http://${node.address}:${clientPort}`;
    this.#initial = nodes.map(({ name, address }) => `${name}=http://${address}:2380`).join(',');
    this.#mount = join(node.folder, 'disk');
    this.#electionMs = electionMs;
  }

  get pid(): number {
    return this.#running?.pid ?? 0;
  }

  /** Its log, for people. */
  get log(): string {
    return this.#running?.stderr ?? '';
  }

  /** Makes its disk: a file system of its own, on a loop device that goes with the last mount. */
  async prepare(): Promise<void> {
    const image = join(this.node.folder, 'disk.img');
    writeFileSync(image, '');
    execFileSync('truncate', ['-s', `${diskMegabytes}M`, image]);
    execFileSync('mkfs.ext4', ['-q', '-O', '^has_journal', image]);
    mkdirSync(this.#mount);
    await this.node.call('mount', ['-o', 'loop', image, this.#mount]);
  }

  start(): void {
    const { address, name } = this.node;
    const [first = '', ...rest] = [
      ...this.node.enter,
      'etcd',
      ...['--name', name, '--data-dir', join(this.#mount, 'data'), '--initial-cluster', this.#initial],
      ...['--listen-client-urls', `${this.endpoint},http://127.0.0.1:${clientPort}`],
      ...['--advertise-client-urls', this.endpoint],
      ...['--listen-peer-urls', `http://${address}:2380`],
      ...['--initial-advertise-peer-urls', `http://${address}:2380`],
      ...['--quota-backend-bytes', String(quotaBytes), '--logger', 'zap'],
      ...['--max-wals', String(logFilesKept), '--max-snapshots', String(logFilesKept)],
      ...['--snapshot-count', String(entriesBetweenSnapshots)],
      ...[
        '--election-timeout',
        String(this.#electionMs),
        '--heartbeat-interval',
        String(this.#electionMs / 10),
      ],
    ];
    this.#running = start(first, rest);
  }

  signal(signal: NodeJS.Signals): void {
    this.#running?.child.kill(signal);
  }

  async kill(): Promise<void> {
    if (this.#running === undefined) return;
    this.#running.child.kill('SIGKILL');
    await this.#running.exited;
  }

  /**
   * From here on and for so long nothing can be written to its disk: fsync does not return, as with a disk that is stuck.
   * It ends by itself, whatever becomes of the test: who waits for a disk cannot be killed.
   */
  async hangDisk(ms: number): Promise<void> {
    const script = 'fsfreeze -f "$0" && { sleep "$1"; fsfreeze -u "$0"; }';
    await this.node.call('sh', ['-c', script, this.#mount, String(ms / 1000)]);
  }

  /** `etcdctl` against this member alone. Throws if it fails. */
  async control(...args: readonly string[]): Promise<string> {
    return this.node.call('env', [
      ...['ETCDCTL_API=3', 'etcdctl', '--endpoints', `http://127.0.0.1:${clientPort}`],
      ...['--command-timeout', '3s', ...args],
    ]);
  }

  async status(): Promise<EtcdStatus | undefined> {
    try {
      const [{ Status }] = JSON.parse(await this.control('endpoint', 'status', '-w', 'json')) as [
        { Status: { header: { member_id: number; revision: number }; leader?: number } },
      ];
      const { header, leader } = Status;
      return { leads: leader === header.member_id, revision: header.revision };
    } catch {
      return undefined; // It does not answer.
    }
  }
}

export interface EtcdStatus {
  readonly leads: boolean;
  readonly revision: number;
}

/** Starts a member on each; returns when all answer. */
export async function startMembers(nodes: readonly Node[], electionMs?: number): Promise<EtcdMember[]> {
  const members = nodes.map((node) => new EtcdMember(node, nodes, electionMs));
  for (const member of members) await member.prepare();
  for (const member of members) member.start();
  await untilHealthy(members);
  return members;
}

export async function untilHealthy(members: readonly EtcdMember[]): Promise<void> {
  const answers = async (member: EtcdMember): Promise<boolean> => {
    try {
      await member.control('endpoint', 'health');
      return true;
    } catch {
      return false;
    }
  };
  await until(
    async () => (await Promise.all(members.map(answers))).every(Boolean),
    () => `etcd: ${members.map(({ log }) => log.slice(-500)).join('\n')}`,
    60_000,
  );
}

/** Undefined: there is none at the moment, or it does not answer. */
export async function findLeader(members: readonly EtcdMember[]): Promise<EtcdMember | undefined> {
  const statuses = await Promise.all(members.map((member) => member.status()));
  return members[statuses.findIndex((status) => status?.leads === true)];
}
