/** Who has a file, in the few words that libvirt shows. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { explainLock, holderInWords } from '../../src/daemon/explain-lock.js';
import { commandFolder, start, holdfast } from '../beds/command.js';
import { until } from '../beds/until.js';

const folder = commandFolder();
/** Asks for it. */
const nobody = 0;
const known = { through: [], evidence: [] };

test('as much as is known of a holder', () => {
  assert.equal(
    holderInWords({
      ...known,
      guest: 'web1',
      program: 'qemu-system-x86_64',
      pid: 5783,
      host: 'this host',
      since: '2025-01-01T13:18:51Z',
    }),
    'guest "web1" (qemu-system-x86_64, pid 5783) on this host since 2025-01-01T13:18:51Z',
  );
  assert.equal(holderInWords({ ...known, program: 'dd', pid: 7 }), 'dd, pid 7');
  assert.equal(holderInWords({ ...known, name: 'backup', pid: 7 }), 'backup (pid 7)');
  assert.equal(holderInWords({ ...known, guest: 'web1', host: 'node2' }), 'guest "web1" on node2');
  assert.equal(holderInWords(known), 'somebody');
});

test('a command that has it is named; nobody, or no such file, is no words', async () => {
  const path = join(folder, 'disk.img');
  writeFileSync(path, 'data');
  assert.equal(await explainLock(path, nobody, { drivers: ['fcntl'] }), undefined);
  const running = start(holdfast, [
    'run',
    '--disk',
    path,
    '--name',
    'backup',
    '--',
    'sh',
    '-c',
    'echo ready; exec sleep 1000',
  ]);
  await running.says('ready');
  const named = new RegExp(`^backup \\(.*pid ${running.pid}\\)`);
  // On a busy machine a look can take longer than libvirt is made to wait.
  await until(
    async () => named.test((await explainLock(path, nobody, { drivers: ['fcntl'] })) ?? ''),
    'it to be named',
  );
  assert.equal(
    await explainLock(path, running.pid, { drivers: ['fcntl'] }),
    undefined,
    'who asks is no answer',
  );
  running.child.kill('SIGKILL');
  await running.exited;
  assert.equal(await explainLock(join(folder, 'missing'), nobody, { drivers: ['fcntl'] }), undefined);
});
