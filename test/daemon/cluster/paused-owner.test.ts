/** Who is stopped because of a lost lock, and when he goes on. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { describe, test, type TestContext } from 'node:test';
import { pauseUntilHeld, PausedOwner, type LostLock } from '../../../src/daemon/cluster/paused-owner.js';
import { HoldfastError } from '../../../src/errors.js';
import { readProcessStat, processStartTime } from '../../../src/system/process.js';
import { until } from '../../beds/until.js';

/** A process with one below it. */
async function family(t: TestContext): Promise<{ readonly parent: number; readonly child: number }> {
  const shell: ChildProcess = spawn('sh', ['-c', 'sleep 600 & echo $!; wait'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [said] = (await once(shell.stdout ?? shell, 'data')) as [Buffer];
  const child = Number(said.toString());
  t.after(() => {
    process.kill(child, 'SIGKILL');
    shell.kill('SIGKILL');
  });
  return { parent: shell.pid ?? 0, child };
}

const isStopped = (pid: number): boolean => readProcessStat(pid)?.state === 'T';
const named = (pid: number): { pid: number; startTime: number } => ({
  pid,
  startTime: processStartTime(pid) ?? 0,
});

const yes = (): boolean => true;

describe('an owner that is paused', () => {
  test('all of it is stopped, and goes on; what somebody else has stopped before stays so', async (t) => {
    const { parent, child } = await family(t);
    process.kill(child, 'SIGSTOP');
    await until(() => isStopped(child), 'the other stop');
    const paused = new PausedOwner(named(parent), yes);
    await until(() => isStopped(parent), 'the stop');
    paused.resumeIfReady();
    await until(() => !isStopped(parent), 'the other one to go on');
    assert.ok(isStopped(child));
  });

  test('what an earlier daemon, or the guard, has stopped stays so', async (t) => {
    const { parent } = await family(t);
    process.kill(parent, 'SIGSTOP');
    await until(() => isStopped(parent), 'its stop');
    const paused = new PausedOwner(named(parent), yes);
    paused.resumeIfReady();
    assert.deepEqual([paused.isOver, paused.goesOn, isStopped(parent)], [true, false, true]);
  });

  test('the daemon and its keeper are never stopped', () => {
    const before = new PausedOwner(named(process.ppid));
    const itself = new PausedOwner(named(process.pid));
    assert.ok(before.stop() && itself.stop() && !isStopped(process.ppid));
  });

  test('two locks: it goes on with the last that is held again, and neither counts as the stop of somebody else', async (t) => {
    const { parent, child } = await family(t);
    let isReady = false;
    const first = new PausedOwner(named(parent), yes);
    await until(() => isStopped(parent) && isStopped(child), 'the stop');
    const second = new PausedOwner(named(child), () => isReady);
    first.resumeIfReady();
    assert.deepEqual([first.isOver, isStopped(parent), isStopped(child)], [false, true, true]);
    isReady = true;
    second.resumeIfReady();
    await until(() => !isStopped(parent) && !isStopped(child), 'both to go on');
    assert.deepEqual([first.isOver, first.goesOn, first.stop()], [true, true, false]);
    assert.deepEqual([second.isOver, second.goesOn, second.stop()], [true, true, false]);
  });

  test('two locks: one that was held again, and is lost again, counts again', async (t) => {
    const { parent } = await family(t);
    const ready = new Set(['first']);
    const first = new PausedOwner(named(parent), () => ready.has('first'));
    const second = new PausedOwner(named(parent), () => ready.has('second'));
    await until(() => isStopped(parent), 'the stop');
    first.resumeIfReady();
    ready.delete('first');
    ready.add('second');
    second.resumeIfReady();
    assert.deepEqual([second.isOver, isStopped(parent)], [false, true]);
  });

  test('two locks, one had by somebody else meanwhile: it never goes on', async (t) => {
    const { parent } = await family(t);
    let rounds = 0;
    const isThere = (): boolean => rounds < 3;
    const had = pauseUntilHeld(named(parent), {
      isThere,
      isHeld: yes,
      retake: () => Promise.reject(new HoldfastError('LOST', 'somebody else had it')),
    });
    const held = pauseUntilHeld(named(parent), {
      isThere,
      isHeld: yes,
      retake: async () => void rounds++,
    });
    await until(() => isStopped(parent), 'the stop');
    await Promise.all([had.over, held.over]);
    assert.deepEqual([had.paused.isOver, held.paused.isOver, isStopped(parent)], [false, false, true]);
  });

  test('what somebody lets go on is stopped again, also while it is tried to take the lock again', async (t) => {
    const { parent } = await family(t);
    let isThere = true;
    let giveUp = (_: Error): void => undefined;
    const { over } = pauseUntilHeld(named(parent), {
      isThere: () => isThere,
      isHeld: () => false,
      retake: () => new Promise((_, reject) => (giveUp = reject)),
    });
    await until(() => isStopped(parent), 'the stop');
    process.kill(parent, 'SIGCONT');
    // The only try is still under way.
    await until(() => isStopped(parent), 'the second stop');
    isThere = false;
    giveUp(new HoldfastError('CLUSTER_UNREACHABLE', 'nobody answers'));
    await over;
  });

  /** Tries of `retake`, one after another; after the last nobody is left. */
  async function tried(
    t: TestContext,
    outcomes: readonly (HoldfastError | 'held' | 'held, and lost at once')[],
  ): Promise<{ readonly tries: number; readonly goesOn: boolean; readonly stopped: boolean }> {
    const { parent } = await family(t);
    let tries = 0;
    let looks = 0;
    const lock: LostLock = {
      // Each round asks for it a few times.
      isThere: () => ++looks < 6 * (outcomes.length + 1),
      isHeld: () => outcomes[tries - 1] === 'held',
      retake: async () => {
        const outcome = outcomes[tries++];
        if (outcome instanceof HoldfastError) throw outcome;
      },
    };
    const { paused, over } = pauseUntilHeld(named(parent), lock);
    await over;
    const { goesOn } = paused;
    if (goesOn) await until(() => !isStopped(parent), 'it to go on');
    else await until(() => isStopped(parent), 'the stop');
    return { tries, goesOn, stopped: isStopped(parent) };
  }

  const away = new HoldfastError('CLUSTER_UNREACHABLE', 'nobody answers');
  const lost = new HoldfastError('LOST', 'somebody else had it');

  test('it goes on when its lock is held again', async (t) => {
    assert.deepEqual(await tried(t, [away, 'held']), { tries: 2, goesOn: true, stopped: false });
  });

  test('not where it is lost again in the same moment', async (t) => {
    assert.deepEqual(await tried(t, ['held, and lost at once', 'held']), {
      tries: 2,
      goesOn: true,
      stopped: false,
    });
  });

  test('never where somebody else had it: nobody asks any more', async (t) => {
    assert.deepEqual(await tried(t, [away, lost, 'held']), { tries: 2, goesOn: false, stopped: true });
  });
});
