/** The guard of the host as the daemon has it: where systemd gives it no scope, and who is on whose list. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { scopeWords } from '../../../src/daemon/cluster/guard-scope.js';
import { HostGuard, type HostGuardOptions } from '../../../src/daemon/cluster/host-guard.js';
import type { Guarantee, GuaranteeTimes } from '../../../src/driver/contract.js';
import { boottimeMs } from '../../../src/system/boot-clock.js';
import { processStartTime, readProcessStat } from '../../../src/system/process.js';
import { privateFolder } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';

const folder = privateFolder();
let files = 0;

const certain: GuaranteeTimes = { loseAtMs: Infinity, killAtMs: Infinity, endMs: Infinity };

/** A lease that lasts until it is told to be over. */
class Lease implements Guarantee {
  times = certain;
  readonly #listeners = new Set<(times: GuaranteeTimes) => void>();

  onRenewal(listener: (times: GuaranteeTimes) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  end(): void {
    const now = boottimeMs();
    this.times = { loseAtMs: now, killAtMs: now, endMs: now };
    for (const listener of this.#listeners) listener(this.times);
  }
}

function newGuard(
  t: TestContext,
  scope?: HostGuardOptions['scope'],
): { readonly guard: HostGuard; readonly told: readonly string[] } {
  const file = join(folder, `guards${++files}.json`);
  const told: string[] = [];
  const guard = new HostGuard({
    file,
    tell: (what) => told.push(what),
    ...(scope === undefined ? {} : { scope }),
  });
  t.after(() => {
    guard.leave();
    for (const { pid } of JSON.parse(readFileSync(file, 'utf8')) as { readonly pid: number }[]) {
      if (readProcessStat(pid) !== undefined) process.kill(pid, 'SIGKILL');
    }
  });
  return { guard, told };
}

function newGuest(t: TestContext): {
  readonly child: ChildProcess;
  readonly named: { pid: number; startTime: number };
} {
  const child = spawn('sleep', ['600'], { stdio: 'ignore' });
  t.after(() => child.kill('SIGKILL'));
  const { pid = 0 } = child;
  return { child, named: { pid, startTime: processStartTime(pid) ?? 0 } };
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean =>
  exitCode !== null || signalCode !== null;

describe('a guard that systemd gives no scope', () => {
  for (const [what, words] of [
    ['systemd-run is not there', [join(folder, 'systemd-run')]],
    ['systemd-run fails', ['false']],
    ['systemd-run is killed', ['sh', '-c', 'kill -KILL $$']],
  ] as const) {
    test(`${what}: it is said once, and the guest is guarded all the same`, async (t) => {
      let asked = 0;
      const { guard, told } = newGuard(t, () => {
        asked += 1;
        return words;
      });
      const lease = new Lease();
      const [one, other] = [newGuest(t), newGuest(t)];
      await guard.add([{ process: { ...one.named, action: 'poweroff' }, guarantee: lease }]);
      // One for another lease asks for no scope any more.
      await guard.add([{ process: { ...other.named, action: 'poweroff' }, guarantee: new Lease() }]);
      assert.equal(asked, 1);
      assert.deepEqual(told, ['guard ends with the service']);
      lease.end();
      await until(() => hasEnded(one.child), 'the guard to end it');
      assert.ok(!hasEnded(other.child));
    });
  }

  test('the words are those of the manager that has started the daemon', () => {
    const [own, users] = [false, true].map((user) => scopeWords({ name: 'holdfastd.service', user }) ?? []);
    assert.equal(own?.[0], 'systemd-run');
    assert.ok(!own.includes('--user') && users?.includes('--user'));
    assert.ok([own, users].every((words) => words?.includes('--scope') === true && words.at(-1) === '--'));
  });
});

test('who stands under another lease now is on no list of the one before when it is said that he is guarded', async (t) => {
  const { guard } = newGuard(t);
  const [before, now] = [new Lease(), new Lease()];
  const [moved, stays] = [newGuest(t), newGuest(t)];
  for (const { named } of [moved, stays]) {
    await guard.add([{ process: { ...named, action: 'poweroff' }, guarantee: before }]);
  }
  await guard.add([{ process: { ...moved.named, action: 'poweroff' }, guarantee: now }]);
  before.end();
  await until(() => hasEnded(stays.child), 'the one that stayed to be ended');
  assert.ok(!hasEnded(moved.child));
  now.end();
  await until(() => hasEnded(moved.child), 'the other one to be ended');
});

test('who is guarded is guarded also where it cannot be written by whom, and that is written when it can be', async (t) => {
  const { guard, told } = newGuard(t);
  const inTheWay = join(folder, `guards${files}.json.new`);
  mkdirSync(inTheWay);
  const lease = new Lease();
  const [one, other] = [newGuest(t), newGuest(t)];
  for (const { named } of [one, other]) {
    await guard.add([{ process: { ...named, action: 'poweroff' }, guarantee: lease }]);
  }
  guard.remove(other.named);
  assert.deepEqual(told, ['guards not written']);
  rmSync(inTheWay, { recursive: true });
  await until(() => existsSync(join(folder, `guards${files}.json`)), 'the guards to be written');
  lease.end();
  await until(() => hasEnded(one.child), 'the guard to end it');
});

describe('a guard that stands still', () => {
  const guardPid = (): number =>
    (JSON.parse(readFileSync(join(folder, `guards${files}.json`), 'utf8')) as { readonly pid: number }[])[0]
      ?.pid ?? 0;

  test('has nobody on its list until it has said so, however often it is asked', async (t) => {
    const { guard } = newGuard(t);
    const lease = new Lease();
    const [one, other] = [newGuest(t), newGuest(t)];
    await guard.add([{ process: { ...one.named, action: 'poweroff' }, guarantee: lease }]);
    const wish = { process: { ...other.named, action: 'poweroff' }, guarantee: lease } as const;
    const pid = guardPid();
    process.kill(pid, 'SIGSTOP');
    for (let n = 0; n < 2; n++) await assert.rejects(guard.add([wish]), { code: 'DRIVER_FAILED' });
    process.kill(pid, 'SIGCONT');
    await guard.add([wish]);
    lease.end();
    await until(() => hasEnded(other.child), 'the guard to end it');
  });

  test('has whoever has left its list on it until it has said so', async (t) => {
    const { guard } = newGuard(t);
    const [before, now] = [new Lease(), new Lease()];
    const { named, child } = newGuest(t);
    const process_ = { ...named, action: 'poweroff' } as const;
    await guard.add([{ process: process_, guarantee: before }]);
    const pid = guardPid();
    process.kill(pid, 'SIGSTOP');
    const wish = { process: process_, guarantee: now };
    t.after(() => readProcessStat(pid) === undefined || process.kill(pid, 'SIGKILL'));
    for (let n = 0; n < 2; n++) await assert.rejects(guard.add([wish]), { code: 'DRIVER_FAILED' });
    process.kill(pid, 'SIGCONT');
    await guard.add([wish]);
    before.end();
    await until(() => readProcessStat(pid) === undefined, 'the one that guards nobody any more to end');
    assert.ok(!hasEnded(child));
  });
});
