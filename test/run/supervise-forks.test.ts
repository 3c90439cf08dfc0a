/** `run --supervise` and commands that are hard to keep in sight. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { isHoldfastError, openManager, superviseCommand } from '../../src/index.js';
import { commandFolder, endLeftProcesses, holdfast, leftProcesses, start } from '../beds/command.js';
import { lockOn, untilFree } from '../beds/observed-lock.js';
import { rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';

const folder = commandFolder();
const disk = rawDisk(join(folder, 'disk.raw'));
const supervise = ['run', '-q', '--supervise', '--disk', disk, '--'];
afterEach(async () => {
  endLeftProcesses();
  await untilFree(disk);
});

/** Closes its descriptors, then is another process every half millisecond: a walk over /proc hardly ever sees it. */
const chain = `import os, signal, sys, time
os.closerange(3, 100)
if 'deaf' in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
end = time.time() + float(sys.argv[1])
while time.time() < end:
    if os.fork(): os._exit(0)
    time.sleep(0.0005)
open(sys.argv[2], 'w').write('over')`;

test('a daemon that forks and ends all the time is waited for', async () => {
  const over = join(folder, 'over');
  const running = start(holdfast, [...supervise, 'python3', '-c', chain, '1.5', over]);
  await until(() => lockOn(disk) !== 'none', 'the lock');
  const { status, stderr } = await running.ended;
  assert.deepEqual([status, stderr], [0, '']);
  assert.equal(readFileSync(over, 'utf8'), 'over', 'the supervisor was gone before it');
});

test('such a daemon, and deaf, is stopped with the supervisor', async () => {
  const running = start(holdfast, [
    ...supervise,
    'python3',
    '-c',
    chain,
    '60',
    join(folder, 'never'),
    'deaf',
  ]);
  await until(() => lockOn(disk) !== 'none', 'the lock');
  await new Promise((resolve) => setTimeout(resolve, 300));
  running.child.kill('SIGTERM');
  await running.exited;
  assert.deepEqual(leftProcesses(), []);
});

test('orphans that end are taken note of while the command runs', async () => {
  const script =
    'i=0; while [ $i -lt 100 ]; do (sh -c "exit 0" & exit); i=$((i+1)); done; echo made; sleep 60';
  const running = start(holdfast, [...supervise, 'sh', '-c', script]);
  await running.says('made');
  await until(() => zombiesOf(running.pid) === 0, 'the last zombie to go');
});

function zombiesOf(parent: number): number {
  return readdirSync('/proc').filter((name) => {
    try {
      const text = readFileSync(`/proc/${name}/stat`, 'utf8');
      const [state, ppid] = text.slice(text.lastIndexOf(')') + 2).split(' ');
      return state === 'Z' && Number(ppid) === parent;
    } catch {
      return false;
    }
  }).length;
}

test('a process with children of its own cannot supervise, and the hold is released', async () => {
  const child = spawn('sleep', ['60']);
  await using manager = openManager({ configuration: false });
  const hold = await manager.lock({ disks: [disk] });
  await assert.rejects(superviseCommand(hold, ['true']), (error) => isHoldfastError(error, 'USAGE'));
  assert.equal(hold.state, 'released');
  child.kill('SIGKILL');
  await once(child, 'exit');
});
