/** How the program that sanlock runs tells a process of a loss, and what it leaves alone. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { newMemoryFile } from '../../../src/system/memory-file.js';
import { processStartTime } from '../../../src/system/process.js';
import { privateFolder } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';

const folder = privateFolder();
const program = join(import.meta.dirname, '../../../src/killpath/main.ts');
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** Has the file as descriptor 3, and as 4 a connection that nobody else has. */
function holder(file: number): { child: ChildProcess; pid: number; startTime: number; socket: string } {
  const child = spawn('sleep', ['600'], { stdio: ['ignore', 'ignore', 'ignore', file, 'pipe'] });
  children.push(child);
  const pid = child.pid ?? 0;
  const socket = /\d+/.exec(readlinkSync(`/proc/${pid}/fd/4`))?.[0] ?? assert.fail();
  return { child, pid, startTime: processStartTime(pid) ?? 0, socket };
}

async function tell(...words: readonly (string | number | bigint)[]): Promise<void> {
  const child = spawn(process.execPath, ['--import', 'tsx', program, 'tell', ...words.map(String)], {
    stdio: 'ignore',
  });
  children.push(child);
  assert.deepEqual(await once(child, 'exit'), [0, null]);
}

const inodeOf = (fd: number): bigint => fstatSync(fd, { bigint: true }).ino;
const isOver = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null;

test('the memory file of the process that asked gets a byte, and nobody is ended', async (t) => {
  const file = newMemoryFile('holdfast-sanlock');
  t.after(() => closeSync(file));
  const { child, pid, startTime, socket } = holder(file);
  await tell(3, startTime, inodeOf(file), socket, pid);
  assert.equal(fstatSync(file).size, 1);
  assert.equal(isOver(child), false);
});

test('a number that is a disk by now keeps its content; who has the connection is ended instead', async (t) => {
  const disk = join(folder, 'disk');
  writeFileSync(disk, 'content');
  const file = openSync(disk, 'r+');
  t.after(() => closeSync(file));
  const { child, pid, startTime, socket } = holder(file);
  await tell(3, startTime, inodeOf(file), socket, pid);
  assert.equal(readFileSync(disk, 'utf8'), 'content');
  await until(() => isOver(child), 'its end');
});

test('neither is another memory file written to, nor that of another process with its pid', async (t) => {
  const files = ['holdfast-sanlock', 'other'].map(newMemoryFile);
  t.after(() => files.forEach(closeSync));
  const [file = -1, named = -1] = files;
  const one = holder(file);
  await tell(3, one.startTime, inodeOf(named), 0, one.pid);
  await tell(3, one.startTime + 1, inodeOf(file), 0, one.pid);
  const other = holder(named);
  await tell(3, other.startTime, inodeOf(named), 0, other.pid);
  assert.deepEqual(
    files.map((each) => fstatSync(each).size),
    [0, 0],
  );
  assert.ok(![one, other].some(({ child }) => isOver(child)));
});
