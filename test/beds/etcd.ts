/**
 * A real etcd of the test's own: one member, or a cluster of several, on private ports of this host and in private folders.
 * Every member is a child process that is known by its pid, so that a test can stop, freeze and start it.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, openSync, closeSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { EtcdClient } from '../../src/drivers/etcd/client/etcd-client.js';
import type { EtcdClientOptions } from '../../src/drivers/etcd/client/endpoint.js';
import { until } from './until.js';

export interface EtcdMember {
  readonly endpoint: string;
  readonly pid: number;
  /** Where its peers reach it. */
  readonly peer: string;
  /** Its data and its log (`log`). */
  readonly folder: string;
  /** Ends it without any goodbye; its data stays. */
  kill(): Promise<void>;
  /** Starts it again with its data. */
  start(): Promise<void>;
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void;
}

export interface EtcdCluster {
  readonly members: readonly EtcdMember[];
  readonly endpoints: readonly string[];
  /** A client of the test's own; ended with the cluster. */
  client(options?: Partial<EtcdClientOptions>): Promise<EtcdClient>;
  stop(): Promise<void>;
}

export interface EtcdBedOptions {
  /** Default 1. */
  readonly size?: number;
  /** More arguments for each member. */
  readonly arguments?: readonly string[];
  /** For the clients, where `arguments` ask for TLS. */
  readonly scheme?: 'http' | 'https';
  /** How to see that it answers, where a plain client is not let in. */
  readonly readiness?: Partial<EtcdClientOptions>;
}

/** Starts etcd, which the test has to stop; `folder` is a private one of the test. */
export async function startEtcd(folder: string, options: EtcdBedOptions = {}): Promise<EtcdCluster> {
  const { size = 1, scheme = 'http' } = options;
  const ports = await freePorts(2 * size);
  const names = Array.from({ length: size }, (_, n) => `m${n}`);
  const peers = names.map((_, n) => `http://127.0.0.1:${ports[size + n]}`);
  const initial = names.map((name, n) => `${name}=${peers[n]}`).join(',');
  const members = names.map((name, n) =>
    memberOf({
      name,
      folder: join(folder, name),
      endpoint: `${scheme}://127.0.0.1:${ports[n]}`,
      peer: peers[n] ?? '',
      initial,
      more: options.arguments ?? [],
    }),
  );
  const endpoints = members.map(({ endpoint }) => endpoint);
  const clients: EtcdClient[] = [];
  const client = async (more: Partial<EtcdClientOptions> = {}): Promise<EtcdClient> => {
    const made = await EtcdClient.open({ endpoints, callMs: 3_000, ...more });
    clients.push(made);
    return made;
  };
  const stop = async (): Promise<void> => {
    for (const one of clients) one.close();
    await Promise.all(members.map((member) => member.kill()));
  };
  try {
    await Promise.all(members.map((member) => member.start()));
    const asking = await client({ callMs: 1_000, ...options.readiness });
    await until(
      async () =>
        await Promise.all(
          members.map((_, endpoint) =>
            asking.range({ key: 'ready' }, { endpoint }).then(
              () => true,
              () => false,
            ),
          ),
        ).then((all) => all.every(Boolean)),
      'etcd to answer',
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return { members, endpoints, client, stop };
}

interface MemberSetup {
  readonly name: string;
  readonly folder: string;
  readonly endpoint: string;
  readonly peer: string;
  readonly initial: string;
  readonly more: readonly string[];
}

function memberOf({ name, folder, endpoint, peer, initial, more }: MemberSetup): EtcdMember {
  let child: ChildProcess | undefined;
  mkdirSync(folder, { recursive: true });
  return {
    endpoint,
    peer,
    folder,
    get pid() {
      return child?.pid ?? 0;
    },
    async start() {
      const log = openSync(join(folder, 'log'), 'a');
      child = spawn(
        'etcd',
        [
          ...['--name', name, '--data-dir', join(folder, 'data')],
          ...['--listen-client-urls', endpoint, '--advertise-client-urls', endpoint],
          ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
          ...['--initial-cluster', initial, '--logger', 'zap'],
          ...more,
        ],
        { stdio: ['ignore', log, log], env: { PATH: process.env['PATH'] } },
      );
      closeSync(log);
      await once(child, 'spawn');
    },
    async kill() {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
    signal(signal) {
      child?.kill(signal);
    },
  };
}

/** Held open together until all are known, so that no two are the same. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(servers.map((server) => once(server.listen(0, '127.0.0.1'), 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}
