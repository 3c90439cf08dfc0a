/**
 * The storage of one host fails: another host gets what that one held when it counts as dead, 8 I/O timeouts and 60 s after its last
 * renewal; by then all that held it has long been ended, or paused.
 */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { monotonicMs } from '../../../src/system/clock.js';
import { readProcessStat } from '../../../src/system/process.js';
import { call, commandFolder, holdfast, start } from '../../beds/command.js';
import { startFailingStorage } from '../../beds/failing-storage.js';
import { makeLease, makeLockspace, startSanlock } from '../../beds/sanlock.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = commandFolder();
const skip = lacks('sanlock', 'fuse');
/** With an I/O timeout of 1 s, as of the last renewal, which is 2 s old at most when the storage fails. */
const deadAfterMs = 66_000;

describe('the lease of a host that has lost its storage', { skip, concurrency: true }, () => {
  for (const [action, over] of [
    ['poweroff', ['gone', 'Z']],
    ['pause', ['T']],
  ] as const) {
    test(`${action}: another host gets it, but not before`, async (t) => {
      const own = join(folder, action);
      mkdirSync(own);
      const source = join(own, 'source');
      const file = await makeLockspace(source, 'cluster');
      const { lease } = await makeLease(file, 0);
      const storage = await startFailingStorage(source, join(own, 'leases'));
      t.after(() => storage.stop());
      const alpha = await startSanlock(own, 'alpha');
      t.after(() => alpha.stop());
      const beta = await startSanlock(own, 'beta');
      t.after(() => beta.stop());
      await Promise.all([alpha.join({ ...file, path: storage.path }, 1), beta.join(file, 2)]);
      const on = (host: typeof alpha, name: string): { env: NodeJS.ProcessEnv } => ({
        env: {
          ...host.env,
          HOLDFAST_RUNTIME_DIR: join(own, `run-${name}`),
          HOLDFAST_TEST: join(folder, 'run'),
        },
      });
      const run = (path: string): readonly string[] => [
        'run',
        '--driver=sanlock',
        `--lease=cluster:${lease?.key}:${path}:${lease?.offset}`,
      ];
      const command = ['--', 'sh', '-c', 'echo pid $$; sleep 600 & echo pid $!; echo ready; wait'];
      const holder = start(
        holdfast,
        [...run(storage.path), `--on-lost=${action}`, ...command],
        on(alpha, 'alpha'),
      );
      await holder.says('ready');
      const pids = [...holder.stdout.matchAll(/^pid (\d+)$/gm)].map(([, pid]) => Number(pid));
      assert.equal(pids.length, 2);
      const isOver = (pid: number): boolean =>
        (over as readonly string[]).includes(readProcessStat(pid)?.state ?? 'gone');
      const failed = monotonicMs();
      await storage.fail();
      await until(() => pids.every(isOver), 'all of it to be over', 60_000);
      // Its own sanlock is done with it, the storage is not.
      assert.equal((await call([...run(source), '--', 'true'], on(beta, 'beta'))).status, 75);
      const wait = ['--wait=200s', '--', 'sh', '-c', 'echo "$HOLDFAST_TOKENS"'];
      const next = await call([...run(source), ...wait], on(beta, 'beta'));
      assert.equal(next.status, 0, next.stderr);
      assert.match(next.stdout, /cluster:lease-0:2"/);
      assert.ok(monotonicMs() - failed > deadAfterMs, 'it was had before that host was dead');
      assert.ok(pids.every(isOver));
    });
  }
});
