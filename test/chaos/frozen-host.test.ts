/**
 * A host of which everything stands still, the command with whatever is to stop it, and that goes on after somebody else was
 * granted its locks. No lock service can help that. What is promised: the command ends at once when it goes on, and a
 * storage that checks tokens takes nothing from it.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { boottimeMs } from '../../src/system/boot-clock.js';
import { commandFolder, type Running } from '../beds/command.js';
import { until } from '../beds/until.js';
import type { Agent, ChaosHost } from './chaos-host.js';
import { checkHistory } from './check-history.js';
import { Cluster, lacksCluster } from './cluster.js';
import { guestXml } from './guest-xml.js';
import { Storage } from './storage.js';

const folder = commandFolder();
const worker = fileURLToPath(new URL('worker.pl', import.meta.url));
const ttlSeconds = 3;
const ttlMs = 1_000 * ttlSeconds;
/** Longer than it stands still: it would write afterwards. */
const workMs = 2 * ttlMs;
/** Lost: what `holdfast run` says; killed with its supervisor, which found out before it. */
const endings = [74, 128 + 9, 128 + 15];

describe('a host that stood still', { skip: lacksCluster() }, () => {
  let cluster: Cluster;
  let storage: Storage;
  before(async () => {
    cluster = await Cluster.start({ folder, members: 1, hosts: 2, ttlSeconds });
    storage = await Storage.start(join(folder, 'storage'), cluster.history);
  });
  after(async () => {
    storage?.stop();
    await cluster?.stop();
  });

  const isAlive = (run: string): boolean => storage.alive.some((one) => one.run === run);

  function work(host: ChaosHost, run: string, manner: string, waitMs: number): Running {
    const file = join(folder, `${run}.xml`);
    writeFileSync(file, guestXml(run, [{ disk: 'd', mode: 'exclusive' }]));
    const command = ['perl', worker, storage.path, run, host.name, manner, String(waitMs), 'd=exclusive'];
    return host.holdfast('run', '-q', '--wait=60s', '--xml', file, '--', ...command);
  }

  /** What the storage that checks tokens was told by a run since then. */
  const writesSince = (at: number, run: string): readonly { readonly accepted: boolean }[] =>
    cluster.history.events.flatMap((event) =>
      event.kind === 'write' && event.at >= at && event.run === run && event.cell === 'checked'
        ? [event]
        : [],
    );

  /** Lets somebody else have the disk, and be done with it, while the first stands still. */
  async function overtake(run: string): Promise<void> {
    const next = work(cluster.host(1), run, 'plain', 10);
    assert.equal(await next.exited, 0, next.stderr);
    await until(() => !isAlive(run), `the end of ${run}`);
  }

  async function requireEnd(frozen: Running, run: string): Promise<void> {
    const status = await frozen.exited;
    assert.ok(endings.includes(status), `${status}: ${frozen.stderr}`);
    await until(() => !isAlive(run), `the end of ${run}`);
  }

  // The last of them writes all the time.
  for (const manner of ['plain', 'deaf', 'busy']) {
    test(`the command (${manner}) ends as its host goes on`, async (t) => {
      const run = `${manner}1`;
      const frozen = work(cluster.host(0), run, manner, workMs);
      await until(() => isAlive(run), 'the command');
      await cluster.host(0).freeze();
      await overtake(`${manner}2`);
      await pause(ttlMs);
      cluster.host(0).thaw();
      const at = boottimeMs();
      await requireEnd(frozen, run);
      const late = writesSince(at, run);
      assert.ok(late.every(({ accepted }) => !accepted));
      const gone = cluster.history.events.findLast(({ kind }) => kind === 'gone');
      t.diagnostic(
        `gone ${Math.round((gone?.at ?? 0) - at)} ms after its host went on, ${late.length} late writes`,
      );
    });
  }

  test('where the command goes on before whatever is to stop it, the storage refuses all that it writes', async (t) => {
    const host = cluster.host(0);
    const frozen = work(host, 'first1', 'busy', workMs);
    await until(() => isAlive('first1'), 'the command');
    const agents = host.agentsOf(frozen);
    const told = (kind: 'frozen' | 'thawed'): void =>
      cluster.history.add({ kind, at: boottimeMs(), host: host.name });
    const signal = (name: NodeJS.Signals, wanted: (agent: Agent) => boolean): void => {
      for (const agent of agents.filter(wanted)) process.kill(agent.pid, name);
    };
    told('frozen');
    for (const role of ['supervisor', 'guard', 'command']) signal('SIGSTOP', (agent) => agent.role === role);
    await overtake('first2');
    told('thawed');
    const at = boottimeMs();
    signal('SIGCONT', ({ role }) => role === 'command');
    await until(() => writesSince(at, 'first1').length > 10, 'late writes');
    signal('SIGCONT', ({ role }) => role !== 'command');
    await requireEnd(frozen, 'first1');
    const late = writesSince(at, 'first1');
    assert.ok(late.every(({ accepted }) => !accepted));
    t.diagnostic(`${late.length} late writes, all of them refused`);
  });

  test('nothing but that happened', () => {
    cluster.history.add({ kind: 'end', at: boottimeMs(), sets: storage.sets, left: [], stuck: [] });
    const { violations, late } = checkHistory(cluster.history.events, ttlMs);
    assert.deepEqual(violations, []);
    assert.equal(new Set(late.map(({ run }) => run)).size, 4, 'each of them was overtaken');
  });
});
