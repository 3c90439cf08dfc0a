/** The leases of a host that died: 8 I/O timeouts and the 60 s of its watchdog later they can be had, and not before. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { monotonicMs } from '../../../src/system/clock.js';
import { call, commandFolder, holdfast, start } from '../../beds/command.js';
import { makeLease, makeLockspace, startSanlock } from '../../beds/sanlock.js';
import { lacks } from '../../needs.js';

const folder = commandFolder();
/** With an I/O timeout of 1 s, as of the last renewal, which is 2 s old at most. */
const deadAfterMs = 66_000;

test(
  'who waits for the lease of a dead host gets it when that counts as dead',
  { skip: lacks('sanlock') },
  async () => {
    const file = await makeLockspace(join(folder, 'leases'), 'cluster');
    const { lease } = await makeLease(file, 0);
    const words = `--lease=cluster:${lease?.key}:${lease?.path}:${lease?.offset}`;
    const [alpha, beta] = await Promise.all(['alpha', 'beta'].map((name) => startSanlock(folder, name)));
    assert.ok(alpha !== undefined && beta !== undefined);
    try {
      await Promise.all([alpha.join(file, 1), beta.join(file, 2)]);
      const holder = start(
        holdfast,
        ['run', '--driver=sanlock', words, '--', 'sh', '-c', 'echo ready; exec sleep 600'],
        {
          env: alpha.env,
        },
      );
      await holder.says('ready');
      const other = {
        env: {
          ...beta.env,
          HOLDFAST_RUNTIME_DIR: join(folder, 'run-beta'),
          HOLDFAST_TEST: join(folder, 'run'),
        },
      };
      assert.equal((await call(['run', '--driver=sanlock', words, '--', 'true'], other)).status, 75);
      // As if its power had failed: nothing is given back.
      await alpha.stop();
      const died = monotonicMs();
      holder.child.kill('SIGKILL');
      const command = ['sh', '-c', 'echo "$HOLDFAST_TOKENS"'];
      const next = await call(['run', '--driver=sanlock', words, '--wait=200s', '--', ...command], other);
      assert.equal(next.status, 0, next.stderr);
      assert.match(next.stdout, /cluster:lease-0:2"/);
      assert.ok(monotonicMs() - died > deadAfterMs, 'it was had before that host was dead');
    } finally {
      await Promise.all([alpha.stop(), beta.stop()]);
    }
  },
);
