/** Suspended holds: nothing is locked, and what was changed or locked by others meanwhile is noticed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  existsSync,
  readdirSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fcntl from '../../../src/drivers/fcntl/fcntl.js';
import { isHoldfastError, openManager, type ErrorCode, type Hold } from '../../../src/index.js';
import { lockOn, lockedBytes } from '../../beds/observed-lock.js';
import { privateRuntime } from '../../beds/private-folder.js';
import { until } from '../../beds/until.js';
import { needs } from '../../needs.js';

const folder = privateRuntime();
const manager = openManager({ configuration: false });
const other = openManager({ configuration: false });
let count = 0;

function disk(): string {
  const path = join(folder, `disk-${++count}.img`);
  writeFileSync(path, 'data');
  return path;
}

const owner = { name: 'web1', uuid: '11111111-2222-4333-8444-555555555555' };

async function asleep(path: string, mode = 'exclusive'): Promise<Hold> {
  const hold = await manager.lock({ disks: [`${path}:${mode}`], owner });
  await hold.suspend();
  return hold;
}

const refuses = (work: Promise<unknown>, code: ErrorCode): Promise<void> =>
  assert.rejects(work, (error) => isHoldfastError(error, code));

test('what nobody touched is locked again, and free in between', async () => {
  const path = disk();
  const hold = await asleep(path);
  assert.equal(hold.state, 'suspended');
  assert.equal(lockOn(path), 'none');
  assert.deepEqual(
    (await other.who({ disks: [path] }))[0]?.holders.filter(({ refuses: who }) => who?.length !== 0),
    [],
  );
  await hold.resume();
  assert.equal(hold.state, 'held');
  assert.equal(lockOn(path), 'write');
  await refuses(other.lock({ disks: [path] }), 'IN_USE');
  await hold.suspend();
  await hold.resume();
  await hold.release();
  assert.deepEqual(lockedBytes(path), []);
});

test('who looks, or only reads, disturbs nobody', async () => {
  const path = disk();
  const hold = await asleep(path);
  await other.plan({ disks: [path] });
  await other.who({ disks: [path] });
  await (await other.lock({ disks: [`${path}:read`] })).release();
  await hold.resume();
  await hold.release();
});

test('who changed it, in whatever way, is noticed, again and again', async () => {
  const changes: Readonly<Record<string, (path: string) => void>> = {
    'written by a program that locks nothing': (path) => writeFileSync(path, 'date'),
    grown: (path) => appendFileSync(path, 'x'),
    'written, with the time set back': (path) => {
      const { atime, mtime } = statSync(path);
      writeFileSync(path, 'date');
      utimesSync(path, atime, mtime);
    },
  };
  for (const [what, change] of Object.entries(changes)) {
    const path = disk();
    const hold = await asleep(path);
    change(path);
    await refuses(hold.resume(), 'LOST');
    await refuses(hold.resume(), 'LOST');
    assert.equal(hold.state, 'suspended', what);
    assert.equal(lockOn(path), 'none', what);
    await hold.release();
  }
});

test('another file under the same name is not what was left', async () => {
  const path = disk();
  const hold = await asleep(path);
  renameSync(disk(), path);
  await assert.rejects(hold.resume());
  assert.equal(lockOn(path), 'none');
  await hold.release();
});

test('somebody who has it now is in use; who had it for writing, and changed nothing, has marked it', async () => {
  const path = disk();
  const hold = await asleep(path);
  const before = statSync(path).mtimeMs;
  const thief = await other.lock({ disks: [path], owner: { ...owner, uuid: owner.uuid.replace('1', '2') } });
  assert.notEqual(statSync(path).mtimeMs, before);
  await refuses(hold.resume(), 'IN_USE');
  await refuses(manager.lock({ disks: [path] }), 'IN_USE');
  await thief.release();
  await refuses(hold.resume(), 'LOST');
  await hold.release();
  // Where nobody sleeps nothing is marked.
  const after = statSync(path).mtimeMs;
  await (await other.lock({ disks: [path] })).release();
  assert.equal(statSync(path).mtimeMs, after);
});

test('a refusal while a reader has it costs nothing: afterwards it goes on', async () => {
  const path = disk();
  const hold = await asleep(path);
  const reader = await other.lock({ disks: [`${path}:read`] });
  await refuses(hold.resume(), 'IN_USE');
  await reader.release();
  await hold.resume();
  await hold.release();
});

test('a name that somebody else had is lost, and its file is not left behind', async () => {
  const lockspace = join(folder, 'run', 'lockspace');
  const wish = { leases: [{ label: 'a:b', lockspace: 'a', key: 'b', offset: 0 }], owner };
  const hold = await manager.lock(wish);
  await hold.suspend();
  await hold.resume();
  await hold.suspend();
  await (await other.lock({ ...wish, owner: { ...owner, uuid: owner.uuid.replace('1', '3') } })).release();
  await refuses(hold.resume(), 'LOST');
  await hold.release();
  const twice = await manager.lock(wish);
  await twice.suspend();
  await twice.release();
  assert.deepEqual(existsSync(lockspace) ? readdirSync(lockspace) : [], []);
});

test('what nothing could tell of stays locked, and it is said why', async () => {
  const path = disk();
  for (const wish of [
    { disks: [`${path}:shared`] },
    { disks: [disk()], leases: [{ label: 'a:b', lockspace: 'a', key: 'b', path: folder, offset: 0 }] },
  ]) {
    const hold = await manager.lock(wish);
    await assert.rejects(hold.suspend(), (error) => {
      assert.ok(isHoldfastError(error, 'UNSUPPORTED'));
      assert.match(error.message, /cannot be suspended: .*(?:others may write|lease)/);
      return true;
    });
    assert.equal(hold.state, 'held');
    assert.notEqual(lockOn(wish.disks[0]?.split(':')[0] ?? ''), 'none');
    await hold.release();
  }
});

test('what a command inherited is given back too, and is not taken again for it', async () => {
  const path = disk();
  const hold = await manager.lock({ disks: [path] });
  const child = hold.spawn('sleep', ['1000'], { stdio: 'ignore' });
  await once(child, 'spawn');
  await hold.suspend();
  assert.equal(lockOn(path), 'none');
  await hold.resume();
  await refuses(hold.handOver(), 'USAGE');
  await hold.release();
  assert.equal(lockOn(path), 'none');
  child.kill('SIGKILL');
  await once(child, 'exit');
});

test('of several drivers all are suspended, or none', async () => {
  const path = disk();
  let fails = true;
  const second = {
    about: { ...fcntl.about, name: 'second' },
    start: async () => ({
      acquire: async (_owner: unknown, requests: Hold['requests']) => ({
        requests,
        descriptors: [],
        tokens: {},
      }),
      release: async () => undefined,
      holders: async () => [],
      suspend: async () => undefined,
      resume: async (grant: never) => {
        if (fails) throw new Error('it does not answer');
        return grant;
      },
    }),
  };
  await using both = openManager({ configuration: false, driver: [fcntl, second] });
  const hold = await both.lock({ disks: [path] });
  await hold.suspend();
  await assert.rejects(hold.resume(), /does not answer/);
  assert.deepEqual([hold.state, lockOn(path)], ['suspended', 'none']);
  fails = false;
  await hold.resume();
  assert.deepEqual([hold.state, lockOn(path)], ['held', 'write']);
  await hold.release();
});

test('a QEMU that is paused with its image open is no other one', async (t) => {
  if (!needs(t, 'qemu')) return;
  const path = disk();
  const hold = await manager.lock({ disks: [path] });
  const args = [
    '-accel',
    'tcg',
    '-S',
    '-nodefaults',
    '-display',
    'none',
    '-drive',
    `file=${path},format=raw`,
    '-qmp',
    'stdio',
  ];
  const guest = spawn('qemu-system-x86_64', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  await until(() => lockedBytes(path).includes(101), 'QEMU to open its image');
  await hold.suspend();
  await hold.resume();
  assert.equal(lockOn(path), 'write');
  guest.kill('SIGKILL');
  await once(guest, 'exit');
  await hold.release();
});
