import assert from 'node:assert/strict';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  parseCommandLine,
  parsePids,
  parseProcessStat,
  processStartTime,
  readProcess,
  readProcessStat,
} from '../../src/system/process.js';
import { parsePasswd } from '../../src/system/user-name.js';
import { startActor } from '../holders/actor.js';

function statLine(comm: string, { state = 'S', ppid = 7, flags = 4194560, startTime = 12345 } = {}): string {
  return `42 (${comm}) ${state} ${ppid} 42 42 0 -1 ${flags} ${'0 '.repeat(10)}1 0 ${startTime} 1000 200 0\n`;
}

test('the name of a process may hold anything, parentheses and newlines included', () => {
  for (const comm of ['sh', 'a) S 1 (b', 'two words', 'line\nbreak', ')', '((', '', ') R 1 1 1']) {
    assert.deepEqual(parseProcessStat(statLine(comm)), {
      comm,
      state: 'S',
      ppid: 7,
      kernelThread: false,
      threads: 1,
      startTime: 12345,
    });
  }
});

test('property: whatever the name, the fields behind it are found', () => {
  fc.assert(
    fc.property(fc.string(), fc.nat(), fc.nat(), (comm, ppid, startTime) => {
      const parsed = parseProcessStat(statLine(comm, { ppid, startTime }));
      assert.deepEqual([parsed?.comm, parsed?.ppid, parsed?.startTime], [comm, ppid, startTime]);
    }),
  );
});

test('property: no text makes a parser throw', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      parseProcessStat(text);
      parsePasswd(text);
      parseCommandLine(Buffer.from(text));
    }),
  );
});

test('a stat that is cut off, or no stat, is none', () => {
  const whole = statLine('sh');
  for (const text of [
    '',
    '42',
    '42 (sh',
    '42 (sh) S 1',
    whole.replace(' S ', ' 5 '),
    whole.replace('12345', '-1'),
  ])
    assert.equal(parseProcessStat(text), undefined);
});

test('a command line is split at NULs, and what is no UTF-8 is shown as its bytes', () => {
  assert.deepEqual(parseCommandLine(Buffer.alloc(0)), []);
  assert.deepEqual(parseCommandLine(Buffer.from('a\0\0b c\0')), ['a', '', 'b c']);
  assert.deepEqual(parseCommandLine(Buffer.from('no end')), ['no end']);
  assert.deepEqual(parseCommandLine(Buffer.from([0x61, 0xff, 0x00, 0x62])), ['a\\xff', 'b']);
});

test('only numbers are pids', () => {
  assert.deepEqual(parsePids(['1', '0', 'self', '12a', '007', '4194304', 'sys']), [1, 4194304]);
});

test('the first name of a user number counts', () => {
  const names = parsePasswd(
    'root:x:0:0::/:/bin/sh\n\nbroken\ntoor:x:0:0:::\nqemu:x:64055:1:::\n:x:5:::\nx:x:y:::',
  );
  assert.deepEqual(
    [...names],
    [
      [0, 'root'],
      [64055, 'qemu'],
    ],
  );
});

test('a recorded process: everything that is told of it', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'proc-'));
  t.after(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, '42'));
  writeFileSync(join(root, 'stat'), 'cpu 1 2 3\nbtime 1700000000\nprocesses 5\n');
  writeFileSync(join(root, '42/stat'), statLine('qemu-system-x86', { startTime: 6199 }));
  writeFileSync(join(root, '42/status'), 'Name:\tqemu\nUid:\t0\t4294967294\t0\t0\nGid:\t1\t1\t1\t1\n');
  writeFileSync(join(root, '42/cmdline'), '/usr/bin/qemu-system-x86_64\0-S\0');
  symlinkSync('/usr/bin/qemu-system-x86_64 (deleted)', join(root, '42/exe'));
  assert.deepEqual(readProcess(42, { root }), {
    pid: 42,
    comm: 'qemu-system-x86',
    state: 'S',
    ppid: 7,
    kernelThread: false,
    threads: 1,
    startTime: 6199,
    exe: 'qemu-system-x86_64',
    argv: ['/usr/bin/qemu-system-x86_64', '-S'],
    uid: 4294967294,
    user: '4294967294',
    since: '2023-11-14T22:14:21Z',
  });
});

test('a recorded process of which only the stat is left, or nothing', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'proc-'));
  t.after(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, '42'));
  mkdirSync(join(root, '43'));
  writeFileSync(join(root, '42/stat'), statLine('kthreadd', { flags: 0x208040 }));
  const found = readProcess(42, { root });
  assert.equal(found?.kernelThread, true);
  assert.deepEqual(found?.argv, []);
  assert.equal(found?.since, undefined);
  assert.equal(readProcess(43, { root }), undefined);
  assert.equal(readProcess(44, { root }), undefined);
});

test('this process, and one that is gone', () => {
  const own = readProcess(process.pid);
  assert.equal(own?.ppid, process.ppid);
  assert.equal(own?.uid, process.geteuid?.());
  assert.equal(own?.exe, process.execPath.split('/').at(-1));
  assert.equal(processStartTime(process.pid), own?.startTime);
  assert.equal(processStartTime(process.ppid), readProcessStat(process.ppid)?.startTime);
  const ageMs = Date.now() - Date.parse(own?.since ?? '');
  assert.ok(ageMs >= -2000 && ageMs <= process.uptime() * 1000 + 5000, `started ${ageMs} ms ago`);
  // Above the kernel's highest pid (proc_sys_kernel(5), pid_max).
  assert.equal(readProcess(4194305), undefined);
  assert.equal(processStartTime(4194305), undefined);
});

test('a real process that calls itself badly', async () => {
  await using actor = await startActor(`fs.writeFileSync('/proc/self/comm', 'a) S 1 (\\nb');`);
  const found = readProcess(actor.pid);
  assert.equal(found?.comm, 'a) S 1 (\nb');
  assert.equal(found?.ppid, process.pid);
});

test('a program is called by its file: deleted, only called so, and with bytes that are no UTF-8', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'proc-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const names: [file: Buffer, deleted: boolean, shown: string][] = [
    [Buffer.from('tool'), false, 'tool'],
    [Buffer.from('gone'), true, 'gone'],
    [Buffer.from('called (deleted)'), false, 'called (deleted)'],
    [Buffer.from('twice (deleted)'), true, 'twice (deleted)'],
    [Buffer.from([0x62, 0x61, 0x64, 0xff]), false, 'bad\\xff'],
    [Buffer.from('two\nlines'), false, 'two\nlines'],
  ];
  for (const [file, deleted, shown] of names) {
    const path = Buffer.concat([Buffer.from(`${folder}/`), file]);
    copyFileSync('/bin/sh', path);
    // Node takes no bytes as a program's path, and the shell's `$0` can be any.
    const link = join(folder, 'link');
    symlinkSync(path, link);
    const child = spawn(link, ['-c', 'echo ready; read x'], { stdio: ['pipe', 'pipe', 'inherit'] });
    await once(child.stdout, 'data');
    unlinkSync(link);
    if (deleted) unlinkSync(path);
    assert.equal(readProcess(child.pid ?? 0)?.exe, shown);
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});

test('recorded names that are no UTF-8 hide nothing behind them', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'proc-'));
  t.after(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, '42'));
  const [before = '', behind = ''] = statLine('|').split('|');
  writeFileSync(
    join(root, '42/stat'),
    Buffer.concat([Buffer.from(before), Buffer.from([0xc3, 0x29, 0xff]), Buffer.from(behind)]),
  );
  const found = readProcessStat(42, { root });
  assert.deepEqual([found?.comm, found?.ppid, found?.startTime], ['\\xc3)\\xff', 7, 12345]);
});
