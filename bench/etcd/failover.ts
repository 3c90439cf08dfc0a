/**
 * How long a guest is away when its host dies, and how soon a command ends that can no longer renew its lock. Hosts and an etcd
 * of three in a network of their own, as in the chaos test, with the times of the default. Needs root, and some minutes.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { boottimeMs } from '../../src/system/boot-clock.js';
import { readProcessStat } from '../../src/system/process.js';
import { endLeftProcesses, type Running } from '../../test/beds/command.js';
import { Cluster, lacksCluster } from '../../test/chaos/cluster.js';
import { findLeader, untilHealthy } from '../../test/chaos/etcd-member.js';
import { guestXml } from '../../test/chaos/guest-xml.js';
import type { ChaosHost } from '../../test/chaos/chaos-host.js';

const ttlSeconds = 10;
/** The rest of the time until the next renewal differs by chance. */
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 5);
/** As exactly as an end is seen. */
const lookMs = 2;

interface Bed {
  readonly folder: string;
  readonly cluster: Cluster;
}

let guests = 0;
/** The next guest, as a file that both hosts have. */
function nextGuest(folder: string): string {
  const file = join(folder, `guest${++guests}.xml`);
  writeFileSync(file, guestXml(`guest${guests}`, [{ disk: `disk${guests}`, mode: 'exclusive' }]));
  return file;
}

const started = ['sh', '-c', 'echo started $$; exec sleep 1000'];
/** One that has to be killed: SIGTERM does nothing to it. */
const deaf = ['sh', '-c', 'trap "" TERM; echo started $$; while :; do sleep 1000; done'];

function run(host: ChaosHost, guest: string, command: readonly string[]): Running {
  return host.holdfast('run', '-q', '--wait', '--xml', guest, '--', ...command);
}

/** From the death of a host until its guest runs on the other one, which waits for that. */
async function failover({ cluster, folder }: Bed, withLeader: boolean): Promise<number> {
  const [dying, other] = [cluster.host(0), cluster.host(1)];
  const guest = nextGuest(folder);
  await run(dying, guest, started).says('started');
  const next = run(other, guest, started);
  // Long enough for it to wait, and never the same time after a renewal.
  await pause(2_000 + Math.random() * 1_000);
  const leader = withLeader ? await findLeader(cluster.members) : undefined;
  const at = boottimeMs();
  await Promise.all([
    dying.powerOff(),
    ...(leader === undefined ? [] : [leader.kill(), cluster.network.setLink(leader.node, 'down')]),
  ]);
  await next.says('started');
  const tookMs = boottimeMs() - at;
  next.child.kill('SIGTERM');
  await next.exited;
  await dying.powerOn();
  if (leader !== undefined) {
    await cluster.network.setLink(leader.node, 'up');
    leader.start();
    await untilHealthy(cluster.members);
  }
  return tookMs;
}

/** From the moment when nothing reaches etcd any more until the command is no longer there. */
async function cutOff({ cluster, folder }: Bed, command: readonly string[]): Promise<number> {
  const host = cluster.host(0);
  const running = run(host, nextGuest(folder), command);
  await running.says('started');
  const pid = Number(/started (\d+)/.exec(running.stdout)?.[1]);
  await pause(2_000 + Math.random() * 1_000);
  await host.cut();
  const at = boottimeMs();
  while (!['Z', undefined].includes(readProcessStat(pid)?.state)) await pause(lookMs);
  const tookMs = boottimeMs() - at;
  await running.exited;
  await host.join();
  return tookMs;
}

/** @param parent a private folder of the bench; `say` gets one line for each figure */
export async function failoverFigures(parent: string, say: (line: string) => void): Promise<void> {
  const lacking = lacksCluster();
  if (lacking !== false) return say(`failover is not measured: ${lacking}`);
  const folder = join(parent, 'failover');
  mkdirSync(folder);
  // By this the processes are found that it leaves.
  process.env['HOLDFAST_RUNTIME_DIR'] = join(folder, 'run');
  process.env['XDG_CONFIG_HOME'] = join(folder, 'config');

  const show = async (
    what: string,
    goalMs: number | undefined,
    measure: () => Promise<number>,
  ): Promise<void> => {
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) times.push(await measure());
    const seconds = times.toSorted((a, b) => a - b).map((ms) => (ms / 1_000).toFixed(2));
    const goal = goalMs === undefined ? '' : `   goal: at most ${goalMs / 1_000} s`;
    say(`${what.padEnd(56)} ${seconds.join('  ')} s${goal}`);
  };
  const bed = { folder, cluster: await Cluster.start({ folder, hosts: 2, ttlSeconds }) };
  const ttlMs = ttlSeconds * 1_000;
  try {
    say(`TTL ${ttlSeconds} s, ${rounds} rounds each, sorted:`);
    await show('host dead to guest running elsewhere', ttlMs + 2_000, () => failover(bed, false));
    await show('  and the leader of etcd was on that host', undefined, () => failover(bed, true));
    await show('host cut off to command gone', ttlMs, () => cutOff(bed, started));
    await show('  and the command has to be killed', ttlMs, () => cutOff(bed, deaf));
  } finally {
    await bed.cluster.stop();
    endLeftProcesses();
  }
}
