/** Threads with a table of descriptors of their own, and processes whose main thread has ended. */
import assert from 'node:assert/strict';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { threadsWithTables } from '../../src/system/descriptor-tables.js';
import { inodeOf } from '../../src/system/inode.js';
import { findOpenFiles, type FileTarget } from '../../src/system/open-files.js';
import { readProcessStat } from '../../src/system/process.js';
import { privateFolder } from '../beds/private-folder.js';
import { threadWithTable } from '../beds/thread-with-table.js';
import { until } from '../beds/until.js';
import { startActor } from '../holders/actor.js';

const folder = privateFolder();

function disk(name: string): { path: string; target: FileTarget } {
  const path = join(folder, name);
  writeFileSync(path, '');
  return { path, target: { kind: 'inode', inode: inodeOf(statSync(path, { bigint: true })) } };
}

test('a thread with a table of its own is found when threads are asked for', async () => {
  const { path, target } = disk('own-table.img');
  await using actor = await startActor(threadWithTable({ path, flags: 'r+', mainEnds: false }));
  assert.deepEqual((await findOpenFiles([target])).files, []);
  const { files } = await findOpenFiles([target], { threads: true });
  assert.deepEqual(
    files.map(({ pid, access, path: shown }) => [pid, access, shown]),
    [[actor.pid, 'read-write', path]],
  );
  const [thread] = threadsWithTables('/proc', actor.pid);
  assert.equal(files[0]?.thread, thread);
  assert.equal(files[0]?.startTime, readProcessStat(actor.pid)?.startTime);
});

test('a process whose main thread has ended is found always, and once', async () => {
  const { path, target } = disk('main-ended.img');
  await using actor = await startActor(threadWithTable({ path, flags: 'r', mainEnds: true }));
  await until(() => readProcessStat(actor.pid)?.state === 'Z', 'the main thread to end');
  for (const threads of [false, true]) {
    const { files, denied } = await findOpenFiles([target], { threads });
    assert.deepEqual(
      files.map(({ pid, access }) => [pid, access]),
      [[actor.pid, 'read']],
    );
    assert.ok(!denied.includes(actor.pid));
  }
});

test('threads that share the table, and a single one, add nothing', () => {
  assert.ok((readProcessStat(process.pid)?.threads ?? 0) > 1);
  assert.deepEqual(threadsWithTables('/proc', process.pid), []);
});
