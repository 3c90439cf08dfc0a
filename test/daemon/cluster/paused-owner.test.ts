/** Who is stopped because of a lost lock, and when he goes on. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { describe, test, type TestContext } from 'node:test';
import { PausedOwner, resumeWhenHeld, type LostLock } from '../../../src/daemon/cluster/paused-owner.js';
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

describe('an owner that is paused', () => {
  test('all of it is stopped, and goes on; what somebody else has stopped before stays so', async (t) => {
    const { parent, child } = await family(t);
    process.kill(child, 'SIGSTOP');
    await until(() => isStopped(child), 'the other stop');
    const paused = new PausedOwner(named(parent), false);
    await until(() => isStopped(parent), 'the stop');
    paused.resume();
    await until(() => !isStopped(parent), 'the other one to go on');
    assert.ok(isStopped(child));
  });

  test('what the guard may have stopped goes on as well', async (t) => {
    const { parent, child } = await family(t);
    process.kill(child, 'SIGSTOP');
    await until(() => isStopped(child), 'its stop');
    const paused = new PausedOwner(named(parent), true);
    await until(() => isStopped(parent), 'the stop');
    paused.resume();
    await until(() => !isStopped(parent) && !isStopped(child), 'both to go on');
  });

  /** Tries of `retake`, one after another; after the last nobody is left. */
  async function tried(
    t: TestContext,
    outcomes: readonly (HoldfastError | 'held' | 'held, and lost at once')[],
  ): Promise<{ readonly tries: number; readonly goesOn: boolean; readonly stopped: boolean }> {
    const { parent } = await family(t);
    let tries = 0;
    let goesOn = false;
    let looks = 0;
    const lock: LostLock = {
      // Each round asks for it twice or thrice.
      isThere: () => ++looks < 4 * (outcomes.length + 1),
      isHeld: () => outcomes[tries - 1] === 'held',
      retake: async () => {
        const outcome = outcomes[tries++];
        if (outcome instanceof HoldfastError) throw outcome;
      },
    };
    const paused = new PausedOwner(named(parent), false);
    await until(() => isStopped(parent), 'the stop');
    await resumeWhenHeld(paused, lock, () => (goesOn = true));
    if (goesOn) await until(() => !isStopped(parent), 'it to go on');
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
