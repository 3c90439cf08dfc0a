/** What sanlock takes as the program that it runs when leases are lost, and whom that program is about. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import type { LeaseConnection } from '../../../src/drivers/sanlock/lease-connection.js';
import { programFault, registerLossProgram } from '../../../src/drivers/sanlock/loss-program.js';
import {
  acquireLeases,
  killpath,
  register,
  releaseAllLeases,
} from '../../../src/drivers/sanlock/client-library.js';
import { keeperFinder, type LeaseKeepers } from '../../../src/killpath/lease-keepers.js';
import { processStartTime } from '../../../src/system/process.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { startFailingStorage } from '../../beds/failing-storage.js';
import { makeLease, makeLockspace, startSanlock } from '../../beds/sanlock.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = privateRuntime();

test('what sanlock would cut off is said: 126 bytes for the program, as many for its arguments, no blanks', () => {
  const long = `/${'x'.repeat(125)}`;
  assert.equal(programFault(long, '/killpath.js', long), undefined);
  assert.match(programFault(`${long}y`, '/killpath.js', 'a') ?? '', /this has 127: /);
  assert.match(programFault('/node', '/killpath.js', `${long}y`) ?? '', /this has 127: /);
  // Bytes, not characters.
  assert.match(programFault(`/${'ä'.repeat(63)}`, '/killpath.js', 'a') ?? '', /this has 127: /);
  assert.match(programFault('/node', '/my programs/killpath.js', 'a') ?? '', /blank.*\/my programs\//);
});

test('where sanlock cannot run the program, pause is refused, also where somebody stays; else it is said', async (t) => {
  const { execPath } = process;
  const setPath = (path: string): void => {
    process.execPath = path;
    syncBuiltinESMExports();
  };
  t.after(() => setPath(execPath));
  setPath(`/${'x'.repeat(126)}`);
  const connection = { descriptor: 0, notice: () => 0 } as unknown as LeaseConnection;
  const { signal } = new AbortController();
  const lossWish = { action: 'pause', supervised: true } as const;
  await assert.rejects(registerLossProgram(connection, { signal, onLost: 'pause' }), { code: 'UNSUPPORTED' });
  await assert.rejects(registerLossProgram(connection, { signal, lossWish }), { code: 'UNSUPPORTED' });
  const [note = ''] = await registerLossProgram(connection, { signal });
  assert.match(note, /this process alone.*this has 127/);
});

test(
  'sanlock runs a program of 126 bytes with arguments of 126, and silently cuts what is longer',
  { skip: lacks('sanlock', 'fuse') },
  async (t) => {
    const source = join(folder, 'source');
    const file = await makeLockspace(source, 'cluster');
    const leases = [await makeLease(file, 0), await makeLease(file, 1)];
    const storage = await startFailingStorage(source, join(folder, 'leases'));
    t.after(() => storage.stop());
    const host = await startSanlock(folder, 'limits');
    t.after(() => host.stop());
    await host.join({ ...file, path: storage.path }, 1);
    const said = join(folder, 'said');
    const program = join(folder, 'p'.repeat(125 - Buffer.byteLength(folder)));
    assert.equal(Buffer.byteLength(program), 126);
    writeFileSync(program, `#!/bin/sh\necho "$#:$*" >> ${said}\n`, { mode: 0o755 });
    Object.assign(process.env, host.env);
    const sockets = [register(), register()] as const;
    const args = `a ${'b'.repeat(124)}`;
    await killpath(sockets[0], program, args, true);
    await killpath(sockets[1], program, `${args}c`, true);
    for (const [index, { lease }] of leases.entries()) {
      const [lockspace, name] = [file.lockspace, lease?.key ?? ''];
      const disks = [{ path: storage.path, offset: lease?.offset ?? 0 }];
      await acquireLeases(sockets[index] ?? -1, [{ lockspace, name, disks }], 'limits');
    }
    await storage.fail();
    const lines = (): readonly string[] =>
      existsSync(said) ? readFileSync(said, 'utf8').trim().split('\n') : [];
    await until(() => lines().length === 2, 'both to be run', 60_000);
    for (const socket of sockets) await releaseAllLeases(socket);
    for (const socket of sockets) closeSync(socket);
    assert.deepEqual(lines(), [`3:${args} ${process.pid}`, `3:${args} ${process.pid}`]);
  },
);

test('whom it is about: the process that asked, who has its connection, and all below; not another with its pid', async (t) => {
  const child = spawn('sh', ['-c', 'sleep 600 & sleep 600'], {
    // The last one is as nobody else has it.
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  const pid = child.pid ?? 0;
  const startTime = processStartTime(pid) ?? 0;
  const pidsOf = (keepers: LeaseKeepers): readonly number[] =>
    keeperFinder(keepers)()
      .map((one) => one.pid)
      .toSorted((a, b) => a - b);
  const none = 'socket:[0]';
  await until(() => pidsOf({ pid, startTime, link: none }).length === 3, 'the command and two below it');
  const all = pidsOf({ pid, startTime, link: none });
  t.after(() => {
    for (const one of all) process.kill(one, 'SIGKILL');
  });
  const link = readlinkSync(`/proc/${pid}/fd/3`);
  assert.deepEqual(pidsOf({ pid, startTime: 1, link }), all);
  assert.deepEqual(pidsOf({ pid, startTime: 1, link: none }), []);
  const self = { pid: process.pid, startTime: processStartTime(process.pid) ?? 0, link: none };
  assert.deepEqual(pidsOf(self), []);
});

test('who was below one that has ended is found again', async (t) => {
  const child = spawn('sh', ['-c', 'sleep 600 & wait'], { stdio: 'ignore' });
  const pid = child.pid ?? 0;
  const find = keeperFinder({ pid, startTime: processStartTime(pid) ?? 0, link: 'socket:[0]' });
  await until(() => find().length === 2, 'both to run');
  const left = find().find((one) => one.pid !== pid)?.pid ?? 0;
  t.after(() => process.kill(left, 'SIGKILL'));
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
  assert.deepEqual(
    find().map((one) => one.pid),
    [left],
  );
});
