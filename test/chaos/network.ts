/**
 * Hosts of a network of the test's own: each in its own network, mount, host name and (but the first) time namespace, all
 * joined by one switch, which has a namespace too, so that nothing of the machine's network is touched.
 *
 * Neighbours are never asked for: each host has the others' addresses of the link layer for good. So a link is cut in one
 * direction by sending to an address that nobody has, silently, as a partition is.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { start, type Running } from '../beds/command.js';
import { leaveLoopMounts } from '../beds/foreign-mounts.js';

const run = promisify(execFile);
const nobody = '02:ff:ff:ff:ff:ff';

export interface Node {
  readonly name: string;
  readonly address: string;
  /** 32 hexadecimal digits. */
  readonly machineId: string;
  /** Private to this host. */
  readonly folder: string;
  /** The words before a command that is to run there; what they start has the same pid. */
  readonly enter: readonly string[];
  /** Runs a program there to its end; gives what it prints, throws if it fails. */
  call(program: string, args: readonly string[]): Promise<string>;
}

export class Network {
  readonly nodes: readonly Node[];
  readonly #switch: Running;
  readonly #keepers: readonly Running[];

  private constructor(own: Running, keepers: readonly Running[], nodes: readonly Node[]) {
    [this.#switch, this.#keepers, this.nodes] = [own, keepers, nodes];
  }

  /** Joins hosts of these names. `folder` is a private one of the test. */
  static async start(folder: string, names: readonly string[]): Promise<Network> {
    const own = start('unshare', ['-n', 'sh', '-c', 'echo ready; exec sleep infinity']);
    await own.says('ready');
    const keepers = await Promise.all(
      names.map((name, index) => startKeeper(join(folder, name), name, index)),
    );
    const nodes = names.map((name, index) =>
      nodeOf(join(folder, name), name, index, keepers[index]?.pid ?? 0),
    );
    const network = new Network(own, keepers, nodes);
    await network.#inSwitch(['link add br0 type bridge', 'link set br0 up']);
    for (const [index, node] of nodes.entries()) {
      const pid = keepers[index]?.pid ?? 0;
      await network.#inSwitch([
        `link add ${node.name} type veth peer name eth0 netns ${pid}`,
        `link set ${node.name} master br0 up`,
      ]);
      await ip(node, [
        'link set lo up',
        `link set eth0 address ${linkAddress(index)} up`,
        `address add ${node.address}/24 dev eth0`,
      ]);
    }
    for (const node of nodes) await network.mend([node], nodes);
    return network;
  }

  /** What `from` sends to `to` is lost from here on. */
  async drop(from: readonly Node[], to: readonly Node[]): Promise<void> {
    await this.#neighbours(from, to, () => nobody);
  }

  /** And here not any longer. */
  async mend(from: readonly Node[], to: readonly Node[]): Promise<void> {
    await this.#neighbours(from, to, (index) => linkAddress(index));
  }

  /** No packet passes between these and those. */
  async part(some: readonly Node[], others: readonly Node[]): Promise<void> {
    await this.drop(some, others);
    await this.drop(others, some);
  }

  async mendAll(): Promise<void> {
    await this.mend(this.nodes, this.nodes);
  }

  /** As when its cable is pulled out. */
  async setLink(node: Node, state: 'up' | 'down'): Promise<void> {
    await this.#inSwitch([`link set ${node.name} ${state}`]);
  }

  /** All that it sends goes through a line of so many bits a second, and waits its turn; undefined: as fast as can be. */
  async setRate(node: Node, bits: number | undefined): Promise<void> {
    const device = ['dev', 'eth0', 'root'];
    if (bits === undefined) await node.call('tc', ['qdisc', 'del', ...device]);
    else
      await node.call('tc', [
        ...['qdisc', 'replace', ...device],
        ...['tbf', 'rate', `${bits}bit`, 'burst', '2kb', 'latency', '3s'],
      ]);
  }

  stop(): void {
    for (const { child } of [this.#switch, ...this.#keepers]) child.kill('SIGKILL');
  }

  async #neighbours(
    from: readonly Node[],
    to: readonly Node[],
    address: (index: number) => string,
  ): Promise<void> {
    await Promise.all(
      from.map((node) => {
        const others = to.filter((other) => other !== node);
        return ip(
          node,
          others.map(
            (other) =>
              `neigh replace ${other.address} lladdr ${address(this.nodes.indexOf(other))} dev eth0 nud permanent`,
          ),
        );
      }),
    );
  }

  async #inSwitch(lines: readonly string[]): Promise<void> {
    await batch(['nsenter', '-t', String(this.#switch.pid), '-n'], lines);
  }
}

function linkAddress(index: number): string {
  return `02:00:00:00:00:${(index + 1).toString(16).padStart(2, '0')}`;
}

/** Keeps the namespaces. They outlast whatever becomes of the host's own processes. */
async function startKeeper(folder: string, name: string, index: number): Promise<Running> {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'machine-id'), `${machineIdOf(index)}\n`);
  const script = `${leaveLoopMounts}
set -e
mount --bind "$1/machine-id" /etc/machine-id
hostname "$2"
echo ready
exec sleep infinity`;
  // The clocks of hosts have nothing in common: each was booted at another time.
  const times =
    index === 0 ? [] : ['-T', '--boottime', String(index * 86_400), '--monotonic', String(index * 3_600)];
  const keeper = start('unshare', [
    '-n',
    '-m',
    '-u',
    ...times,
    '--propagation',
    'private',
    'sh',
    '-c',
    script,
    'sh',
    folder,
    name,
  ]);
  await keeper.says('ready');
  return keeper;
}

function machineIdOf(index: number): string {
  return (index + 1).toString(16).padStart(32, 'c');
}

function nodeOf(folder: string, name: string, index: number, pid: number): Node {
  const enter = ['nsenter', '-F', '-t', String(pid), '-n', '-m', '-u', '-T', '--'];
  return {
    name,
    address: `10.77.0.${index + 1}`,
    machineId: machineIdOf(index),
    folder,
    enter,
    async call(program, args) {
      const [first = '', ...rest] = [...enter, program, ...args];
      return (await run(first, rest)).stdout;
    },
  };
}

async function ip(node: Node, lines: readonly string[]): Promise<void> {
  await batch(node.enter, lines);
}

async function batch(enter: readonly string[], lines: readonly string[]): Promise<void> {
  const [first, ...rest] = [...enter, 'ip', '-batch', '-'];
  const child = start(first, rest, { input: lines.join('\n') + '\n' });
  const { status, stderr } = await child.ended;
  if (status !== 0) throw new Error(`ip: ${stderr} (${lines.join('; ')})`);
}
