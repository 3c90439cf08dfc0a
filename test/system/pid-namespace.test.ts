import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { maySharePids } from '../../src/system/pid-namespace.js';
import { needs } from '../needs.js';

test('this process shares pids with itself, and as far as is known with who is gone', () => {
  assert.equal(maySharePids(process.pid), true);
  assert.equal(maySharePids(2 ** 30), true);
});

test('a process of another pid namespace means others by its pids', async (t) => {
  if (!needs(t, 'root', 'unshare')) return;
  const child = spawn(
    'unshare',
    ['--pid', '--fork', '--kill-child', 'sh', '-c', 'cat /proc/self/stat; cat'],
    {
      stdio: ['pipe', 'pipe', 'ignore'],
    },
  );
  const [stat] = (await once(child.stdout, 'data')) as [Buffer];
  // What stands in /proc is by the namespace of who mounted it: this one's. Field 4 is the shell.
  const shell = Number(stat.toString().split(' ')[3]);
  assert.equal(maySharePids(shell), false);
  child.stdin.end();
  await once(child, 'exit');
});
