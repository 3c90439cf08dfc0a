/** Who has a disk open only for a moment, to look at it, is none of its users. */
import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { withoutPassing } from '../../src/holders/passing-readers.js';
import type { ResourceFile } from '../../src/holders/process-use.js';
import type { ResourceTarget } from '../../src/holders/resource-targets.js';
import { inodeOf } from '../../src/system/inode.js';
import { findOpenFiles } from '../../src/system/open-files.js';
import { fileResource } from '../beds/file-resource.js';
import { privateFolder } from '../beds/private-folder.js';
import { until } from '../beds/until.js';
import { startActor } from './actor.js';

const folder = privateFolder();

function target(name: string): { path: string; target: ResourceTarget } {
  const path = join(folder, name);
  writeFileSync(path, '');
  const inode = inodeOf(statSync(path, { bigint: true }));
  return { path, target: { kind: 'inode', inode, resource: fileResource(path), relation: 'self' } };
}

const pids = (files: readonly ResourceFile[]): number[] => files.map(({ pid }) => pid);

test('a program of Node that has closed it meanwhile is left out; one that keeps it is not', async () => {
  const { path, target: disk } = target('passing.img');
  const open = `const fd = fs.openSync(${JSON.stringify(path)}, 'r');`;
  await using keeps = await startActor(open);
  await using passes = await startActor(`${open} process.stdin.once('data', () => fs.closeSync(fd));`);
  const { files } = await findOpenFiles([disk]);
  assert.deepEqual(new Set(pids(files)), new Set([keeps.pid, passes.pid]));
  passes.child.stdin?.write('close');
  await until(async () => (await findOpenFiles([disk])).files.length === 1, 'it is closed');
  assert.deepEqual(pids(await withoutPassing(files)), [keeps.pid]);
});

test('a writer is never left out, nor who has a lock: he had it when all was looked at', async () => {
  const { path, target: disk } = target('written.img');
  await using actor = await startActor(`
    const path = ${JSON.stringify(path)};
    const fds = [fs.openSync(path, 'r+'), fs.openSync(path, 'r')];
    lock(fds[1], OFD, READ, 100, 1);
    process.stdin.once('data', () => fds.forEach((fd) => fs.closeSync(fd)));`);
  const { files } = await findOpenFiles([disk]);
  actor.child.stdin?.write('close');
  await until(async () => (await findOpenFiles([disk])).files.length === 0, 'it is closed');
  assert.deepEqual(pids(await withoutPassing(files)), [actor.pid, actor.pid]);
});
