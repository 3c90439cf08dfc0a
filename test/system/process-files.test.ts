/** What a path is for another process. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { wholePathOf } from '../../src/system/process-files.js';

test('a relative path is in the folder of the process', async (t) => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'folder of a process ')));
  const child = spawn('sleep', ['1000'], { cwd: folder });
  t.after(() => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });
  await once(child, 'spawn');
  const pid = child.pid ?? 0;
  assert.equal(wholePathOf(pid, 'top.qcow2'), join(folder, 'top.qcow2'));
  assert.equal(wholePathOf(pid, '/top.qcow2'), '/top.qcow2');
  assert.equal(wholePathOf(pid, 'top.qcow2', '/nowhere'), 'top.qcow2');
});
