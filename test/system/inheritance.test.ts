import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { Inheritance } from '../../src/system/inheritance.js';
import { until } from '../beds/until.js';

const openDescriptors = (): number => readdirSync('/proc/self/fd').length;

test('what nobody inherited is gone at once, and leaves no descriptor', () => {
  const before = openDescriptors();
  let gone = 0;
  new Inheritance().letGo(() => gone++);
  assert.equal(gone, 1);
  assert.equal(openDescriptors(), before);
});

test('what was inherited is gone with the last process that has it', async () => {
  const inheritance = new Inheritance();
  // The shell ends at once; what it left behind has it still.
  const shell = spawn('sh', ['-c', 'sleep 1000 & echo $!'], {
    stdio: ['ignore', 'pipe', 'ignore', inheritance.descriptor],
  });
  assert.ok(shell.stdout !== null);
  const [said] = (await once(shell.stdout, 'data')) as [Buffer];
  let gone = false;
  inheritance.letGo(() => (gone = true));
  if (shell.exitCode === null) await once(shell, 'exit');
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(gone, false);
  process.kill(Number(said.toString()), 'SIGKILL');
  await until(() => gone, 'the end of the last process');
});

test('a child that was not given it does not have it', async () => {
  const inheritance = new Inheritance();
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
  let gone = false;
  inheritance.letGo(() => (gone = true));
  assert.equal(gone, true);
  child.kill('SIGKILL');
  await once(child, 'exit');
});
