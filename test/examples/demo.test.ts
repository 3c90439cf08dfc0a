/** What `npm start` shows, where QEMU is installed and where it is not. */
import assert from 'node:assert/strict';
import { accessSync, constants, mkdirSync, symlinkSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { commandFolder, start } from '../beds/command.js';
import { needs } from '../needs.js';

const folder = commandFolder();
const demo = fileURLToPath(new URL('../../scripts/demo.mjs', import.meta.url));

/** All that the demonstration and the command itself need beside QEMU: nothing that a Debian can be without. */
const programs = ['sh', 'cat', 'cp', 'echo', 'grep', 'truncate'];

function fileOf(program: string): string {
  const files = (process.env['PATH'] ?? '').split(delimiter).map((one) => join(one, program));
  const found = files.find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  assert.ok(found !== undefined, `${program} is not installed`);
  return found;
}

test('without QEMU and qemu-img it shows the same, with a raw file and a plain writer', async () => {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  for (const program of programs) symlinkSync(fileOf(program), join(bin, program));
  symlinkSync(process.execPath, join(bin, 'node'));
  // As npm says which Node it runs: the demonstration looks for programs beside it too.
  const env = { PATH: bin, npm_node_execpath: join(bin, 'node'), NO_COLOR: '1' };
  const { status, stdout, stderr } = await start(process.execPath, [demo], { env, input: '' }).ended;
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /^\$ truncate -s 64M web1\.raw$/m);
  assert.doesNotMatch(stdout + stderr, /qemu-(?:img|system)/);
  assert.match(stdout, /held by +guest "web1" \(node, pid \d+\)/);
  assert.match(stdout, /^started$/m);
});

test('with them it starts a real guest from an overlay', async (t) => {
  if (!needs(t, 'qemu', 'qemu-img')) return;
  const { status, stdout, stderr } = await start(process.execPath, [demo], { input: '' }).ended;
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /^\$ qemu-img create .* web1\.qcow2$/m);
  assert.match(stdout, /held by +guest "web1" \(qemu-system-x86_64, pid \d+\)/);
});
