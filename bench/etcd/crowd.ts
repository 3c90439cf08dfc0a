/**
 * Acquire of a guest on an etcd with many hosts and locks, against one on which there is nothing else: two etcd, asked in turn, on the
 * same machine and disk, so that what the simulated hosts take of the machine slows both. Before that once with both empty.
 */
import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Driver, Grant } from '../../src/driver/contract.js';
import etcdDriver from '../../src/drivers/etcd/etcd.js';
import { startEtcd, type EtcdCluster } from '../../test/beds/etcd.js';
import { processorTimeNs, residentKib } from '../daemon/process-figures.js';
import { median } from '../measure.js';
import type { CrowdWord } from './crowd-hosts.js';
import { simulatedGuest } from './simulated-guest.js';

const hosts = Number(process.env['BENCH_HOSTS'] ?? 1_000);
const locks = Number(process.env['BENCH_LOCKS'] ?? 100_000);
const rounds = Number(process.env['BENCH_ROUNDS'] ?? 40);
const diskCounts = [1, 4, 16];
/** Calls in a row of each; then it is the other's turn. */
const calls = 10;
const fillMsMax = 300_000;
/** Until the watches are where the locks are, and no renewal comes from the start any more. */
const settleMs = 10_000;
const restMs = 20_000;
const goal = 1.5;

interface Side {
  readonly driver: Driver;
  readonly cluster: EtcdCluster;
}

interface Use {
  /** Of one processor, in per cent. */
  readonly processor: number;
  readonly residentMib: number;
  readonly databaseMib: number;
}

type Figures = ReadonlyMap<number, readonly [number, number]>;

/** Medians in milliseconds, by number of disks: of the crowded side, and of the empty one. */
async function acquireInTurn(sides: readonly [Side, Side]): Promise<Figures> {
  const { signal } = new AbortController();
  const figures = new Map<number, readonly [number, number]>();
  for (const disks of diskCounts) {
    const guests = Array.from({ length: calls }, () => simulatedGuest(disks));
    const times: [number[], number[]] = [[], []];
    for (let round = 0; round <= rounds; round++) {
      for (const [side, { driver }] of sides.entries()) {
        const grants: Grant[] = [];
        for (const { owner, requests } of guests) {
          const start = performance.now();
          grants.push(await driver.acquire(owner, requests, { signal }));
          // The first round does not count: connections and leases come with it.
          if (round > 0) times[side]?.push(performance.now() - start);
        }
        for (const grant of grants) await driver.release(grant);
      }
    }
    figures.set(disks, [median(times[0]), median(times[1])]);
  }
  return figures;
}

async function atRest(pids: readonly number[], ms: number): Promise<readonly number[]> {
  const before = pids.map(processorTimeNs);
  const start = performance.now();
  await pause(ms);
  const tookNs = (performance.now() - start) * 1e6;
  return pids.map((pid, n) => (100 * (processorTimeNs(pid) - (before[n] ?? 0))) / tookNs);
}

function useOf({ cluster }: Side, processor: number): Use {
  const [member] = cluster.members;
  if (member === undefined) throw new Error('an etcd without a member');
  const { size } = statSync(join(member.folder, 'data/member/snap/db'));
  return { processor, residentMib: residentKib(member.pid) / 1024, databaseMib: size / 2 ** 20 };
}

interface Crowd {
  readonly pid: number;
  readonly wrong: () => readonly string[];
  readonly end: () => Promise<void>;
}

async function startCrowd(endpoint: string): Promise<Crowd> {
  const program = fileURLToPath(new URL('crowd-hosts.ts', import.meta.url));
  const words = ['--import', 'tsx', program, endpoint, String(hosts), String(locks)];
  const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const wrong: string[] = [];
  let isHolding: () => void = () => undefined;
  const holding = new Promise<void>((resolve) => (isHolding = resolve));
  createInterface({ input: child.stdout }).on('line', (line) => {
    const word = JSON.parse(line) as CrowdWord;
    if (word.is === 'holding') isHolding();
    else wrong.push(word.what);
  });
  const end = async (): Promise<void> => {
    child.stdin.end();
    await exited;
  };
  const outcome = await Promise.race([
    holding.then(() => undefined),
    exited.then(() => 'the simulated hosts have ended'),
    pause(fillMsMax, 'the simulated hosts did not get their locks', { ref: false }),
  ]);
  if (outcome !== undefined) {
    child.kill('SIGKILL');
    throw new Error(outcome);
  }
  return { pid: child.pid ?? 0, wrong: () => wrong, end };
}

/** @param folder a private one of the bench; `say` gets one line for each figure */
export async function crowdFigures(folder: string, say: (line: string) => void): Promise<void> {
  const clusters = await Promise.all(['crowded', 'empty'].map((name) => startEtcd(join(folder, name))));
  const drivers: Driver[] = [];
  let crowd: Crowd | undefined;
  try {
    for (const { endpoints } of clusters) drivers.push(await etcdDriver.start({ endpoints }));
    const sides = clusters.map((cluster, n) => ({ cluster, driver: drivers[n] })) as unknown as [Side, Side];
    const before = await acquireInTurn(sides);
    const start = performance.now();
    crowd = await startCrowd(clusters[0]?.endpoints[0] ?? '');
    say(
      `${hosts} hosts have ${locks} locks, after ${((performance.now() - start) / 1_000).toFixed(0)} s; p50:`,
    );
    await pause(settleMs);
    const pids = [...clusters.map(({ members }) => members[0]?.pid ?? 0), crowd.pid];
    const [crowded = 0, empty = 0, simulation = 0] = await atRest(pids, restMs);
    const uses = [useOf(sides[0], crowded), useOf(sides[1], empty)];
    const figures = await acquireInTurn(sides);
    for (const disks of diskCounts) {
      const [full = 0, other = 0] = figures.get(disks) ?? [];
      const [, quiet = 0] = before.get(disks) ?? [];
      say(
        `acquire a guest with ${disks} ${disks === 1 ? 'disk' : 'disks'}`.padEnd(32) +
          ` ${ms(full)}   on an empty one ${ms(other)}   ${(full / other).toFixed(2)}x   goal: at most ${goal}x` +
          `   (both empty, without the hosts: ${ms(quiet)})`,
      );
    }
    for (const [n, { processor, residentMib, databaseMib }] of uses.entries()) {
      say(
        `etcd at rest, ${n === 0 ? 'with all that' : 'empty'}`.padEnd(32) +
          ` ${processor.toFixed(1)} % of a processor   ${residentMib.toFixed(0)} MiB of memory   database ${databaseMib.toFixed(0)} MiB`,
      );
    }
    say(
      `  the simulated hosts themselves`.padEnd(32) +
        ` ${simulation.toFixed(1)} % of a processor   ${(residentKib(crowd.pid) / 1024).toFixed(0)} MiB of memory`,
    );
    const wrong = crowd.wrong();
    if (wrong.length > 0) say(`these figures do not count: ${wrong.length} times, ${wrong[0]}`);
  } finally {
    await crowd?.end();
    for (const driver of drivers) await driver.end?.();
    for (const cluster of clusters) await cluster.stop();
  }
}

function ms(value: number): string {
  return `${value.toFixed(2)} ms`;
}
