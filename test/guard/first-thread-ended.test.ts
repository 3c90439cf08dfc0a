/** A process whose first thread has ended is shown as one that has ended itself, and its other threads run on. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { pauseDescendants, resumePaused, stopDescendants } from '../../src/guard/stop-descendants.js';
import { stopAll } from '../../src/killpath/pause-keepers.js';
import { childrenHere } from '../../src/system/descendants.js';
import { readProcessStat } from '../../src/system/process.js';
import { privateFolder } from '../beds/private-folder.js';
import { until } from '../beds/until.js';

const folder = privateFolder();
/** exit(2), which ends one thread (exit_group ends all). */
const exitCall = process.arch === 'x64' ? 60 : 93;
/** Counts in a file, takes no notice of SIGTERM. */
const writer = `
  const { Worker } = require('node:worker_threads');
  process.on('SIGTERM', () => undefined);
  const turns = "const { writeFileSync } = require('node:fs'); const wait = new Int32Array(new SharedArrayBuffer(4));" +
    "for (let turn = 1; ; turn++) { writeFileSync(process.argv.at(-1), String(turn)); Atomics.wait(wait, 0, 0, 5); }";
  new Worker(turns, { eval: true, argv: [process.argv.at(-1)] }).on('online', () => {
    require('koffi').load(null).func('long syscall(long number, long status)')(${exitCall}, 0);
  });
`;
const nothing = (): void => undefined;

interface Writer {
  readonly pid: number;
  readonly startTime: number;
  readonly turns: () => string;
}

async function startWriter(t: TestContext, name: string): Promise<Writer> {
  const file = join(folder, name);
  writeFileSync(file, '');
  const child = spawn(process.execPath, ['-e', writer, file], { stdio: 'ignore' });
  t.after(() => child.kill('SIGKILL'));
  const pid = child.pid ?? 0;
  const turns = (): string => readFileSync(file, 'latin1');
  const stat = () => readProcessStat(pid);
  await until(() => stat()?.state === 'Z' && Number(turns()) > 1, 'its first thread to end');
  return { pid, startTime: stat()?.startTime ?? 0, turns };
}

async function goesOn({ turns }: Writer): Promise<boolean> {
  const before = turns();
  // The last write of one that was stopped a moment ago can be between its two halves.
  for (let look = 0; look < 20; look++) {
    await new Promise((resolve) => setTimeout(resolve, 25));
    if (turns() !== before) return true;
  }
  return false;
}

test('it is paused, goes on, and is killed when it is time', async (t) => {
  const one = await startWriter(t, 'descendant');
  // What runs this test can have children of its own.
  const spared = () => childrenHere().filter(({ pid }) => pid !== one.pid);
  const paused = await pauseDescendants(nothing, spared);
  assert.ok(paused.some(({ pid }) => pid === one.pid));
  await until(async () => !(await goesOn(one)), 'it to stand still');
  resumePaused(paused);
  await until(() => goesOn(one), 'it to go on');
  let looks = 0;
  await stopDescendants(nothing, () => ++looks > 10, spared);
  await until(async () => !(await goesOn(one)), 'it to stand still');
});

test('it is paused where its leases are lost', async (t) => {
  const one = await startWriter(t, 'keeper');
  await stopAll({ ...one, link: 'socket:[0]' });
  await until(async () => !(await goesOn(one)), 'it to stand still');
});
