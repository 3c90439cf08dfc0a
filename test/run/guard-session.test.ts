/** The guard and the job control of whoever has started `holdfast run`. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { commandFolder, start } from '../beds/command.js';
import { guardedRuns } from '../beds/guarded-run.js';
import { rawDisk } from '../beds/qemu.js';

const folder = commandFolder();
const runs = guardedRuns(folder, rawDisk(join(folder, 'disk.raw')));

/**
 * When the last process is gone that connects a process group with the rest of its session, the kernel hangs up all of the
 * group and lets what is stopped go on (setpgid(2), orphaned process groups). Were the guard in the session of its command, then
 * each command that ends would be such a connection: its end would hang up a service's script, and wake commands that were
 * paused because their lock was lost.
 */
test('a command that ends neither hangs up its group nor wakes who is stopped there', async () => {
  const script = `sleep 1000 & stopped=$!
kill -STOP $stopped
"$@"; code=$?
read -r _ _ state _ </proc/$stopped/stat
echo "status $code, the other is $state"
kill -KILL $stopped`;
  // A session of its own, as a service or cron has it: nobody outside the group waits for it.
  const running = start('setsid', ['sh', '-c', script, 'sh', ...runs.words([], ['sleep', '0.5'])]);
  const { status, stdout, stderr } = await running.ended;
  assert.deepEqual([stdout, stderr, status], ['status 0, the other is T\n', '', 0]);
});
