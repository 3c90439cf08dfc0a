/** A host on which commands run under locks of the cluster: its place in the network, and all its processes as a group. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { boottimeMs } from '../../src/system/boot-clock.js';
import { readProcessStat } from '../../src/system/process.js';
import { holdfast, start, type Running, type StartOptions } from '../beds/command.js';
import type { History } from './history.js';
import type { Network, Node } from './network.js';
import { ProcessGroup } from './process-group.js';

/** One process of a `holdfast run`. */
export interface Agent {
  readonly pid: number;
  readonly role: 'supervisor' | 'guard' | 'command';
}

export interface ChaosHostOptions {
  readonly folder: string;
  readonly network: Network;
  readonly node: Node;
  readonly endpoints: readonly string[];
  readonly ttlSeconds: number;
  readonly history: History;
}

export class ChaosHost {
  readonly node: Node;
  readonly #network: Network;
  readonly #history: History;
  readonly #group: ProcessGroup;
  readonly #configuration: string;
  readonly #environment: NodeJS.ProcessEnv;

  constructor({ folder, network, node, endpoints, ttlSeconds, history }: ChaosHostOptions) {
    [this.node, this.#network, this.#history] = [node, network, history];
    this.#group = new ProcessGroup(folder, node.name);
    this.#configuration = join(node.folder, 'holdfast.toml');
    const list = endpoints.map((endpoint) => JSON.stringify(endpoint)).join(', ');
    writeFileSync(
      this.#configuration,
      `drivers = ["etcd"]\n[driver.etcd]\nendpoints = [${list}]\nttl = "${ttlSeconds}s"\n`,
    );
    const runtime = join(node.folder, 'run');
    mkdirSync(runtime, { mode: 0o700 });
    // By HOLDFAST_TEST the test finds what it has left.
    this.#environment = {
      HOLDFAST_RUNTIME_DIR: runtime,
      HOLDFAST_TEST: process.env['HOLDFAST_RUNTIME_DIR'],
    };
  }

  get name(): string {
    return this.node.name;
  }

  /** Starts a program on it. */
  start(program: string, args: readonly string[], options: StartOptions = {}): Running {
    const [first = '', ...rest] = [...this.#group.enter, ...this.node.enter, program, ...args];
    return start(first, rest, { input: '', ...options, env: this.#environment });
  }

  /** `holdfast SUBCOMMAND`, with the cluster's configuration. */
  holdfast(subcommand: string, ...args: readonly string[]): Running {
    return this.start(holdfast, [subcommand, '--config', this.#configuration, ...args]);
  }

  /** What a `holdfast run` that was started here consists of at the moment. */
  agentsOf(run: Running): readonly Agent[] {
    const children = this.#group.pids.flatMap((pid) => {
      const ppid = readProcessStat(pid)?.ppid;
      return ppid === undefined ? [] : [{ pid, ppid }];
    });
    const below = (parent: number): number[] =>
      children.flatMap(({ pid, ppid }) => (ppid === parent ? [pid, ...below(pid)] : []));
    return [run.pid, ...below(run.pid)].map((pid) => ({ pid, role: roleOf(pid, run.pid) }));
  }

  /** Nothing passes between it and any other host, until `join`. */
  async cut(): Promise<void> {
    await this.#network.part([this.node], this.#network.nodes);
    this.#told('cut');
  }

  async join(): Promise<void> {
    this.#told('joined');
    await this.#network.mend([this.node], this.#network.nodes);
    await this.#network.mend(this.#network.nodes, [this.node]);
  }

  /** All its processes and its link are gone at once, and it comes back with `powerOn`. */
  async powerOff(): Promise<void> {
    this.#group.kill();
    await this.#network.setLink(this.node, 'down');
    this.#told('cut');
  }

  async powerOn(): Promise<void> {
    this.#told('joined');
    await this.#network.setLink(this.node, 'up');
  }

  /** All its processes stand still, with whatever is to stop the others. */
  async freeze(): Promise<void> {
    this.#told('frozen');
    await this.#group.freeze();
  }

  thaw(): void {
    this.#told('thawed');
    this.#group.thaw();
  }

  async remove(): Promise<void> {
    await this.#group.remove();
  }

  #told(kind: 'cut' | 'joined' | 'frozen' | 'thawed'): void {
    this.#history.add({ kind, at: boottimeMs(), host: this.name });
  }
}

function roleOf(pid: number, supervisor: number): Agent['role'] {
  if (pid === supervisor) return 'supervisor';
  return commandLine(pid).includes('/guard') ? 'guard' : 'command';
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return ''; // It has ended.
  }
}
