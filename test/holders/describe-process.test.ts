import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { describeProcess } from '../../src/holders/find-holders.js';

interface Recorded {
  readonly comm?: string;
  readonly argv?: readonly string[];
  readonly exe?: string;
}

/** A recorded /proc with process 42. */
function recorded(t: TestContext, { comm = 'thread', argv = [], exe }: Recorded): string {
  const root = mkdtempSync(join(tmpdir(), 'proc-'));
  t.after(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, '42'));
  writeFileSync(join(root, '42/stat'), `42 (${comm}) S 1 42 42 0 -1 4194560 ${'0 '.repeat(12)}777 0 0\n`);
  writeFileSync(join(root, '42/cmdline'), argv.map((argument) => `${argument}\0`).join(''));
  if (exe !== undefined) symlinkSync(exe, join(root, '42/exe'));
  return root;
}

test('the program: its file, else its first argument, else the kernel’s name', (t) => {
  const program = (process: Recorded): string | undefined =>
    describeProcess(42, { root: recorded(t, process) })?.program;
  assert.equal(program({ exe: '/usr/bin/qemu-img', argv: ['convert'] }), 'qemu-img');
  assert.equal(program({ exe: '/usr/bin/dd (deleted)' }), 'dd');
  assert.equal(program({ comm: 'MainThread', argv: ['/usr/bin/node', 'x'] }), 'node');
  assert.equal(program({ comm: 'bash', argv: ['-bash'] }), 'bash');
  assert.equal(program({ comm: 'nginx', argv: ['nginx: master process /usr/sbin/nginx'] }), 'nginx');
  assert.equal(program({ comm: 'kworker/0:1' }), 'kworker/0:1');
});

test('Holdfast itself, and not what interprets it', (t) => {
  const program = (...argv: string[]): string | undefined =>
    describeProcess(42, { root: recorded(t, { exe: '/usr/bin/node', argv: ['node', ...argv] }) })?.program;
  assert.equal(program('--v8-pool-size=0', '--', '/usr/bin/holdfast', 'run', '--supervise'), 'holdfast');
  assert.equal(program('/usr/lib/node_modules/holdfast/dist/daemon/holdfastd.js'), 'holdfastd');
  assert.equal(program('/home/me/holdfast/job.js', 'holdfast'), 'node');
});

test('a guest only of an emulator, also where its file cannot be seen', (t) => {
  const argv = ['/usr/bin/qemu-system-x86_64', '-name', 'guest=web1', '-chardev', 'socket,id=charmonitor'];
  const hidden = describeProcess(42, { root: recorded(t, { argv }) });
  assert.deepEqual(hidden, {
    pid: 42,
    startTime: 777,
    program: 'qemu-system-x86_64',
    libvirt: 'system',
    stopped: false,
    guest: 'web1',
  });
  const other = describeProcess(42, { root: recorded(t, { argv, exe: '/usr/bin/bash' }) });
  assert.equal(other?.guest, undefined);
});

test('nobody', (t) => {
  assert.equal(describeProcess(43, { root: recorded(t, {}) }), undefined);
});
