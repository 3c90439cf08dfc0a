/**
 * What goes wrong in the chaos test. A fault begins, lasts and is mended in one call, so that none is left behind; those of
 * one kind (the network's, the others) come one after the other, and one of each kind at the same time.
 *
 * Not here, because no test of one machine can do it: a wall clock that jumps (`clocks.test` shows that nothing of a lock's
 * time depends on it).
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { Running } from '../beds/command.js';
import type { Agent, ChaosHost } from './chaos-host.js';
import { findLeader, type EtcdMember } from './etcd-member.js';
import type { Network, Node } from './network.js';
import type { Random } from './random.js';

export interface Surroundings {
  readonly network: Network;
  readonly members: readonly EtcdMember[];
  readonly hosts: readonly ChaosHost[];
  readonly random: Random;
  readonly ttlMs: number;
  /** The runs that are on their way. */
  readonly running: ReadonlyMap<string, { readonly host: ChaosHost; readonly process: Running }>;
  /** Hosts on which a command runs that lasts, so that it matters what becomes of them. */
  readonly busyHosts: readonly ChaosHost[];
  /** Runs of which one agent was stopped or killed: not another, for who has neither supervisor nor guard is beyond help. */
  readonly spoilt: Set<string>;
}

/** False: there was nobody whom it could have struck. */
export type Fault = (surroundings: Surroundings) => Promise<boolean | void>;

/** To find somebody to strike. */
const searchMsMax = 4_000;
const searchAgainMs = 50;

async function search<T>(find: () => T | undefined): Promise<T | undefined> {
  for (const endMs = performance.now() + searchMsMax; performance.now() < endMs;) {
    const found = find();
    if (found !== undefined) return found;
    await pause(searchAgainMs);
  }
  return undefined;
}

/** One with commands that run, if there is one within a moment. */
async function someHost(around: Surroundings): Promise<ChaosHost> {
  const busy = await search(() => {
    const hosts = around.busyHosts;
    return hosts.length === 0 ? undefined : around.random.oneOf(hosts);
  });
  return busy ?? around.random.oneOf(around.hosts);
}

/** Shorter than a lease, or longer than one: both kinds are survived, by other means. */
function duration({ random, ttlMs }: Surroundings): number {
  return random.next() < 0.4 ? random.between(200, ttlMs / 2) : random.between(ttlMs * 1.1, ttlMs * 1.8);
}

function nodesOf(all: readonly { readonly node: Node }[]): Node[] {
  return all.map(({ node }) => node);
}

/** The leader half of the time. */
async function someMember({ members, random }: Surroundings): Promise<EtcdMember> {
  const leader = random.next() < 0.5 ? await findLeader(members) : undefined;
  return leader ?? random.oneOf(members);
}

async function lost(around: Surroundings, from: readonly Node[], to: readonly Node[]): Promise<void> {
  await around.network.drop(from, to);
  await pause(duration(around));
  await around.network.mend(from, to);
}

async function parted(around: Surroundings, some: readonly Node[], others: readonly Node[]): Promise<void> {
  await around.network.part(some, others);
  await pause(duration(around));
  await around.network.mend(some, others);
  await around.network.mend(others, some);
}

async function slow(around: Surroundings, node: Node): Promise<void> {
  await around.network.setRate(node, around.random.between(4_000, 24_000));
  await pause(duration(around));
  await around.network.setRate(node, undefined);
}

export const networkFaults: Readonly<Record<string, Fault>> = {
  async 'a host is cut off'(around) {
    const host = await someHost(around);
    await host.cut();
    await pause(duration(around));
    await host.join();
  },
  async 'a host is cut off for longer than its leases last'(around) {
    const host = await someHost(around);
    await host.cut();
    await pause(around.ttlMs * around.random.between(1.1, 1.8));
    await host.join();
  },
  async 'a host reaches only some members'(around) {
    const host = await someHost(around);
    const unseen = around.random.shuffled(around.members).slice(around.random.below(2) + 1);
    await parted(around, [host.node], nodesOf(unseen));
  },
  async 'what a host says is lost'(around) {
    await lost(around, [(await someHost(around)).node], nodesOf(around.members));
  },
  async 'what a host is told is lost'(around) {
    await lost(around, nodesOf(around.members), [(await someHost(around)).node]);
  },
  async 'a member is cut off from all'(around) {
    const { node } = await someMember(around);
    await parted(around, [node], around.network.nodes);
  },
  async 'a member is cut off from its peers alone'(around) {
    const { node } = await someMember(around);
    await parted(around, [node], nodesOf(around.members));
  },
  async 'what a member says to its peers is lost'(around) {
    const { node } = await someMember(around);
    await lost(around, [node], nodesOf(around.members));
  },
  async 'what a member is told by its peers is lost'(around) {
    const { node } = await someMember(around);
    await lost(around, nodesOf(around.members), [node]);
  },
  async 'a slow line to a host'(around) {
    await slow(around, (await someHost(around)).node);
  },
  async 'a slow line to a member'(around) {
    await slow(around, (await someMember(around)).node);
  },
  async 'a loose contact'(around) {
    const { node } = around.random.oneOf([...around.hosts, ...around.members]);
    for (const endMs = performance.now() + duration(around); performance.now() < endMs;) {
      await around.network.part([node], around.network.nodes);
      await pause(around.random.between(50, 600));
      await around.network.mend([node], around.network.nodes);
      await around.network.mend(around.network.nodes, [node]);
      await pause(around.random.between(50, 400));
    }
  },
  async 'a host loses power'(around) {
    const host = await someHost(around);
    await host.powerOff();
    await pause(around.ttlMs * around.random.between(1.1, 1.5));
    await host.powerOn();
  },
};

/** One agent of one run. */
function someAgent({ random, running, spoilt }: Surroundings, wanted: Agent['role']): Agent | undefined {
  for (const [run, { host, process }] of random.shuffled([...running])) {
    if (spoilt.has(run)) continue;
    const agents = host.agentsOf(process);
    // Before its command is there nothing depends on it.
    if (!agents.some(({ role }) => role === 'command')) continue;
    const chosen = agents.filter(({ role }) => role === wanted);
    if (chosen.length === 0) continue;
    spoilt.add(run);
    return random.oneOf(chosen);
  }
  return undefined;
}

async function stopAgent(around: Surroundings, role: Agent['role']): Promise<boolean> {
  const agent = await search(() => someAgent(around, role));
  if (agent === undefined) return false;
  signal(agent.pid, 'SIGSTOP');
  await pause(duration(around));
  signal(agent.pid, 'SIGCONT');
  return true;
}

async function killAgent(around: Surroundings, role: Agent['role']): Promise<boolean> {
  const agent = await search(() => someAgent(around, role));
  if (agent !== undefined) signal(agent.pid, 'SIGKILL');
  return agent !== undefined;
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended.
  }
}

export const otherFaults: Readonly<Record<string, Fault>> = {
  'a supervisor stands still': (around) => stopAgent(around, 'supervisor'),
  'a supervisor is killed': (around) => killAgent(around, 'supervisor'),
  'a guard stands still': (around) => stopAgent(around, 'guard'),
  'a guard is killed': (around) => killAgent(around, 'guard'),
  'a command stands still': (around) => stopAgent(around, 'command'),
  'a command is killed': (around) => killAgent(around, 'command'),
  async 'a member stands still'(around) {
    const member = await someMember(around);
    member.signal('SIGSTOP');
    await pause(duration(around));
    member.signal('SIGCONT');
  },
  async 'the leader stands still'(around) {
    const leader = await findLeader(around.members);
    leader?.signal('SIGSTOP');
    await pause(duration(around));
    leader?.signal('SIGCONT');
  },
  async 'a member is killed'(around) {
    const member = await someMember(around);
    await member.kill();
    await pause(duration(around));
    member.start();
  },
  async 'the leader is killed, and is back at once'(around) {
    const leader = await findLeader(around.members);
    await leader?.kill();
    leader?.start();
  },
  async 'the majority is killed'(around) {
    const some = around.random.shuffled(around.members).slice(1);
    await Promise.all(some.map((member) => member.kill()));
    await pause(duration(around));
    for (const member of some) member.start();
  },
  async 'the leader waits for its disk'(around) {
    await (await findLeader(around.members))?.hangDisk(around.ttlMs * around.random.between(0.5, 2));
  },
  async 'a disk is slow'(around) {
    const member = await someMember(around);
    for (const endMs = performance.now() + duration(around); performance.now() < endMs;) {
      await member.hangDisk(around.random.between(50, 500));
      await pause(around.random.between(20, 200));
    }
  },
  async 'a host stands still'(around) {
    const host = await someHost(around);
    await host.freeze();
    await pause(duration(around));
    host.thaw();
  },
  async 'etcd has no space'(around) {
    await fillSpace(around);
    await pause(duration(around) / 2);
    await makeSpace(around);
  },
  async 'etcd forgets its past'({ members, random }) {
    const member = random.oneOf(members);
    const status = await member.status();
    if (status !== undefined) await member.control('compact', String(status.revision)).catch(() => undefined);
  },
};

const fillPrefix = 'chaos-fill/';

/** Returns when writes are refused, or after a while. */
async function fillSpace({ members, random }: Surroundings): Promise<void> {
  const script = `n=0; while [ $n -lt 40 ] && head -c 1000000 /dev/zero | tr '\\0' x |
    ETCDCTL_API=3 etcdctl --endpoints http://127.0.0.1:2379 --command-timeout 2s put ${fillPrefix}$n >/dev/null 2>&1; do n=$((n+1)); done`;
  await random.oneOf(members).node.call('sh', ['-c', script]);
}

/** As etcd's documentation says: remove, compact, defragment, and take the alarm back. */
export async function makeSpace({ members }: Pick<Surroundings, 'members'>): Promise<void> {
  for (let attempt = 0; attempt < 20; attempt++) {
    const leader = await findLeader(members);
    try {
      if (leader === undefined) throw new Error('there is no leader');
      await leader.control('del', '--prefix', fillPrefix);
      const status = await leader.status();
      // Physical: defragmenting only frees what is removed by then. Somebody else may have compacted it further.
      await leader.control('compact', '--physical', String(status?.revision)).catch(() => undefined);
      for (const member of members) await member.control('defrag');
      await leader.control('alarm', 'disarm');
      return;
    } catch {
      await pause(500); // Another fault is in the way.
    }
  }
}
