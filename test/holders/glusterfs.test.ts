import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { needs } from '../needs.js';

const bed = fileURLToPath(new URL('./gluster-bed.sh', import.meta.url));
const script = fileURLToPath(new URL('./gluster-look.ts', import.meta.url));

test('a file on GlusterFS, which is mounted twice: its locks show in no table, and one mount knows nothing of the other', async (t) => {
  if (!needs(t, 'root', 'glusterfs', 'unshare')) return;
  const folder = mkdtempSync(join(tmpdir(), 'gluster-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const spaces = ['-m', '-n', '-p', '--fork', '--kill-child', '--mount-proc', '--propagation', 'private'];
  const child = spawn(
    'unshare',
    [...spaces, 'sh', bed, folder, process.execPath, '--import', 'tsx', script, folder],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.after(() => child.kill('SIGKILL'));
  const output = await text(child.stdout);
  const log = join(folder, 'set-up.log');
  assert.notEqual(output, '', existsSync(log) ? readFileSync(log, 'utf8') : 'no set-up');
  const { idle, written, locked, writer, locker } = JSON.parse(output) as Record<string, unknown>;

  const twice = (one: unknown): unknown => [one, one];
  const unlocked = [writer, 'no lock: open for writing'];
  assert.deepEqual(idle, twice({ holders: [], complete: false, unlocked: [] }));
  assert.deepEqual(written, twice({ holders: [unlocked], complete: false, unlocked: [unlocked] }));
  const words = 'open for writing (whether it has a lock does not show on this file system)';
  assert.deepEqual(locked, twice({ holders: [[locker, words]], complete: false, unlocked: [] }));
});
