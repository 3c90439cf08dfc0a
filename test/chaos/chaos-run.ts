/**
 * The chaos test: three hosts and an etcd of three, all of them real, in a network of their own. On each host commands are run
 * under locks, one after another, that read, wait and rewrite what is on a disk; meanwhile things go wrong (`faults`). The
 * verdict is that of `check-history`.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { boottimeMs } from '../../src/system/boot-clock.js';
import type { Running } from '../beds/command.js';
import { until } from '../beds/until.js';
import type { ChaosHost } from './chaos-host.js';
import { checkHistory, type Verdict } from './check-history.js';
import { Cluster } from './cluster.js';
import { untilHealthy, type EtcdMember } from './etcd-member.js';
import { makeSpace, networkFaults, otherFaults, type Fault, type Surroundings } from './faults.js';
import { guestXml } from './guest-xml.js';
import type { History, HeldMode } from './history.js';
import type { Network } from './network.js';
import { Random } from './random.js';
import { Storage } from './storage.js';

const worker = fileURLToPath(new URL('worker.pl', import.meta.url));
const hostCount = 3;
const diskNames = ['d0', 'd1', 'd2', 'd3'];
/** Short, so that leases end often; every other time follows from it. */
const ttlSeconds = 5;
/** One run after another in each. */
const contendersPerHost = 3;
/** Plain ones most of the time: the others cost a processor more. */
const manners = ['plain', 'plain', 'plain', 'forked', 'daemon', 'closed', 'deaf', 'family'];
/** Statuses of `holdfast run` that are no surprise while things go wrong, and what each of them says. */
const expected: Readonly<Record<number, string>> = {
  0: 'done',
  3: 'refused by the storage',
  69: 'cluster not reachable',
  74: 'lost',
  75: 'waited in vain',
  137: 'killed',
  143: 'ended',
};

export interface ChaosOptions {
  /** A private one of the test. */
  readonly folder: string;
  readonly seconds: number;
  /** It chooses the faults and the work; what they meet is a matter of time. */
  readonly seed: number;
  readonly say: (line: string) => void;
}

export interface ChaosOutcome {
  readonly verdict: Verdict;
  readonly history: History;
  /** How often what happened: ends of runs, faults. */
  readonly ends: ReadonlyMap<string, number>;
  readonly faults: ReadonlyMap<string, number>;
  /** Ends of runs that nothing explains. */
  readonly odd: readonly string[];
}

export async function runChaos(options: ChaosOptions): Promise<ChaosOutcome> {
  const chaos = await Chaos.start(options);
  try {
    return await chaos.run();
  } finally {
    await chaos.stop();
  }
}

class Chaos implements Surroundings {
  readonly running = new Map<string, { host: ChaosHost; process: Running; waitMs: number }>();
  readonly spoilt = new Set<string>();
  readonly random: Random;
  readonly ttlMs = ttlSeconds * 1_000;
  readonly #odd: string[] = [];
  readonly #ends = new Map<string, number>();
  readonly #faults = new Map<string, number>();
  #runs = 0;

  readonly options: ChaosOptions;
  readonly history: History;
  readonly network: Network;
  readonly members: readonly EtcdMember[];
  readonly hosts: readonly ChaosHost[];
  readonly storage: Storage;
  readonly #cluster: Cluster;

  private constructor(options: ChaosOptions, cluster: Cluster, storage: Storage) {
    [this.options, this.#cluster, this.storage] = [options, cluster, storage];
    this.random = new Random(options.seed);
    this.history = cluster.history;
    this.network = cluster.network;
    this.members = cluster.members;
    this.hosts = cluster.hosts;
  }

  static async start(options: ChaosOptions): Promise<Chaos> {
    const { folder } = options;
    const cluster = await Cluster.start({ folder, hosts: hostCount, ttlSeconds });
    return new Chaos(options, cluster, await Storage.start(join(folder, 'storage'), cluster.history));
  }

  get busyHosts(): readonly ChaosHost[] {
    const alive = this.storage.alive.flatMap(({ run }) => this.running.get(run) ?? []);
    const lasting = new Set(alive.filter(({ waitMs }) => waitMs > 1_000).map(({ host }) => host));
    return this.hosts.filter((host) => lasting.has(host));
  }

  async run(): Promise<ChaosOutcome> {
    const endMs = performance.now() + this.options.seconds * 1_000;
    const isOver = (): boolean => performance.now() > endMs;
    const contenders = this.hosts.flatMap((host) =>
      Array.from({ length: contendersPerHost }, () => this.#contend(host, isOver)),
    );
    await Promise.all([this.#spoil(networkFaults, isOver), this.#spoil(otherFaults, isOver)]);
    await this.#mend();
    await Promise.all(contenders);
    await until(
      () => this.storage.alive.length === 0,
      () => `the end of ${JSON.stringify(this.storage.alive)}`,
      60_000,
    );
    await this.#finish();
    return {
      verdict: checkHistory(this.history.events, this.ttlMs),
      history: this.history,
      ends: this.#ends,
      faults: this.#faults,
      odd: this.#odd,
    };
  }

  async stop(): Promise<void> {
    this.storage.stop();
    await this.#cluster.stop();
  }

  /** One run after another on one host. */
  async #contend(host: ChaosHost, isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const run = `r${++this.#runs}`;
      const disks = this.random.shuffled(diskNames).slice(0, this.random.next() < 0.8 ? 1 : 2);
      const held = disks.map((disk) => ({ disk, mode: this.#mode() }));
      // Many outlast a lease: whoever loses it while they run has something to stop.
      const waitMs =
        this.random.next() < 0.6 ? this.random.between(20, 300) : this.random.between(2_000, 12_000);
      const process = host.holdfast(
        'run',
        ...['-q', '--wait=30s', '--xml', this.#guest(run, held), '--'],
        ...['perl', worker, this.storage.path, run, host.name],
        ...[this.random.oneOf(manners), waitMs.toFixed(), ...held.map(({ disk, mode }) => `${disk}=${mode}`)],
      );
      this.running.set(run, { host, process, waitMs });
      const status = await process.exited;
      this.running.delete(run);
      this.#count(this.#ends, expected[status] ?? `status ${status}`);
      this.options.say(`${run} on ${host.name}: ${status} ${process.stderr.split('\n').join(' | ')}`);
      // As who is told to try again does.
      if (status === 69) await pause(this.random.between(500, 1_000));
      if (expected[status] === undefined)
        this.#odd.push(`${run} on ${host.name}: ${status}: ${process.stderr}`);
    }
  }

  #mode(): HeldMode {
    return this.random.next() < 0.8 ? 'exclusive' : 'read';
  }

  #guest(run: string, held: readonly { readonly disk: string; readonly mode: HeldMode }[]): string {
    const file = join(this.options.folder, `${run}.xml`);
    writeFileSync(file, guestXml(run, held));
    return file;
  }

  /** Each of these once in random order, then again. */
  async #spoil(faults: Readonly<Record<string, Fault>>, isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      for (const [name, fault] of this.random.shuffled(Object.entries(faults))) {
        if (isOver()) return;
        this.#say(name);
        if ((await fault(this)) === false) this.#say(`nobody to strike: ${name}`);
        else this.#count(this.#faults, name);
        this.#say(`over: ${name}`);
        await pause(this.random.between(500, 3_000));
      }
    }
  }

  #say(what: string): void {
    const at = boottimeMs();
    this.history.add({ kind: 'fault', at, what });
    this.options.say(`${(at / 1000).toFixed(1)} ${what}`);
  }

  #count(into: Map<string, number>, what: string): void {
    into.set(what, (into.get(what) ?? 0) + 1);
  }

  async #mend(): Promise<void> {
    await this.network.mendAll();
    await untilHealthy(this.members);
    await makeSpace(this);
  }

  /** Whether anything is left of the locks: nothing in etcd once leases are over, and everything can be had. */
  async #finish(): Promise<void> {
    const [host] = this.hosts;
    const locks = async (): Promise<string[]> =>
      ((await this.members[0]?.control('get', '--prefix', 'holdfast/', '--keys-only')) ?? '')
        .split('\n')
        .filter((key) => key.includes('/locks/'));
    const endMs = performance.now() + this.ttlMs * 2;
    while ((await locks()).length > 0 && performance.now() < endMs) await pause(200);
    const left = await locks();
    const stuck: string[] = [];
    for (const disk of diskNames) {
      const held = [{ disk, mode: 'exclusive' }] as const;
      const last = host?.holdfast('run', '-q', '--xml', this.#guest(`last-${disk}`, held), '--', 'true');
      if ((await last?.exited) !== 0) stuck.push(`${disk}: ${last?.stderr}`);
    }
    this.history.add({ kind: 'end', at: boottimeMs(), sets: this.storage.sets, left, stuck });
  }
}
