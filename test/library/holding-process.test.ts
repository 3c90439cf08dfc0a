/**
 * The public library in a process of its own: what its calls do to the locks is seen from outside, by the kernel and by
 * the command.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { call, commandFolder, endLeftProcesses } from '../beds/command.js';
import { libraryUser, type LibraryUser } from '../beds/library-user.js';
import { lockOn, untilFree } from '../beds/observed-lock.js';
import { domainXml, rawDisk } from '../beds/qemu.js';

const folder = commandFolder();
const disk = rawDisk(join(folder, 'disk.raw'));
const second = rawDisk(join(folder, 'second.raw'));
afterEach(async () => {
  endLeftProcesses();
  await Promise.all([disk, second].map(untilFree));
});

const sleeping = { script: 'exec sleep 1000' };
const locks = (): readonly string[] => [lockOn(disk), lockOn(second)];

async function holding(disks: readonly string[] = [disk], name?: string): Promise<LibraryUser> {
  const user = await libraryUser();
  assert.equal(await user.tell('lockDisks', { disks, name }), 'held');
  return user;
}

interface Listed {
  readonly processes: readonly { readonly pid: number }[];
  readonly resources: readonly { readonly label: string; readonly mode: string }[];
}

async function list(): Promise<readonly Listed[]> {
  return JSON.parse((await call(['list', '--json'])).stdout) as Listed[];
}

const pids = (listed: readonly Listed[]): number[] =>
  listed.flatMap(({ processes }) => processes.map(({ pid }) => pid));

describe('who is refused because of it is told its name', () => {
  test('lockDisks, with a name', async () => {
    const user = await holding([disk], 'nightly backup');
    const { status, stderr } = await call(['run', '--disk', disk, '--', 'true']);
    assert.equal(status, 75);
    assert.match(
      stderr,
      new RegExp(`held by {3}nightly backup \\(node.*, pid ${user.pid}, user \\w+\\) on this host`),
    );
    assert.equal(await user.tell('release'), 'released');
    assert.equal((await call(['run', '-q', '--disk', disk, '--', 'echo', 'ran'])).stdout, 'ran\n');
  });

  test('lockDomain, with the guest of the XML', async () => {
    const user = await libraryUser();
    assert.equal(await user.tell('lockDomain', { xml: domainXml('web1', [{ path: disk }]) }), 'held');
    const { status, stderr } = await call(['run', '--disk', disk, '--', 'true']);
    assert.equal(status, 75);
    assert.match(stderr, new RegExp(`held by {3}guest "web1" \\(node.*, pid ${user.pid}\\)`));
    await user.kill();
  });

  test('and another program with the library gets IN_USE', async () => {
    await holding();
    const other = await libraryUser();
    assert.equal(await other.tell('lockDisks', { disks: [disk] }), 'IN_USE');
    assert.equal(await other.tell('lockDisks', { disks: [second, disk] }), 'IN_USE');
    assert.equal(lockOn(second), 'none', 'all or nothing');
    assert.equal(await other.tell('lockDisks', { disks: [second] }), 'held');
  });
});

describe('endings of the process', () => {
  for (const [name, how] of [
    [
      'exit without a word',
      (user: LibraryUser) => (user.running.child.stdin?.write('{"do":"exit"}\n'), user.running.exited),
    ],
    ['kill -9', (user: LibraryUser) => user.kill()],
  ] as const) {
    test(`${name}: its locks are free, and list is empty`, async () => {
      const user = await holding([disk, `${second}:read`]);
      assert.deepEqual(locks(), ['write', 'read']);
      assert.deepEqual(pids(await list()), [user.pid]);
      await how(user);
      assert.deepEqual(locks(), ['none', 'none']);
      assert.deepEqual(await list(), []);
    });

    test(`${name}, while a command that it started runs: the command keeps them`, async () => {
      const user = await holding();
      const child = Number(await user.tell('spawn', sleeping));
      await how(user);
      assert.equal(lockOn(disk), 'write');
      assert.deepEqual(pids(await list()), [child]);
      process.kill(child, 'SIGKILL');
      await untilFree(disk);
      assert.deepEqual(await list(), []);
    });
  }
});

describe('endings of the hold', () => {
  for (const what of ['release', 'dispose']) {
    test(`${what} gives the locks back, at once`, async () => {
      const user = await holding();
      assert.equal(await user.tell(what), 'released');
      assert.equal(lockOn(disk), 'none');
      assert.deepEqual(await list(), []);
      assert.equal(await user.tell('spawn', sleeping), 'ENDED');
      assert.equal(await user.tell('extend', { disks: [second] }), 'ENDED');
      assert.equal(await user.tell('release'), 'released', 'twice is no error');
    });
  }

  test('release, while a command that it started runs: the command keeps them, and is named', async () => {
    const user = await holding();
    const child = Number(await user.tell('spawn', sleeping));
    assert.deepEqual(new Set(pids(await list())), new Set([user.pid, child]));
    assert.equal(await user.tell('release'), 'released');
    assert.equal(lockOn(disk), 'write');
    assert.deepEqual(pids(await list()), [child]);
    const { stderr } = await call(['run', '--disk', disk, '--', 'true']);
    assert.match(stderr, new RegExp(`pid ${child}\\b`));
    process.kill(child, 'SIGKILL');
    await untilFree(disk);
  });

  test('handOver lets go without a gap, and only to a command that runs', async () => {
    const user = await holding();
    assert.equal(await user.tell('handOver'), 'USAGE');
    const child = Number(await user.tell('spawn', sleeping));
    assert.equal(await user.tell('handOver'), 'handed over');
    assert.equal(lockOn(disk), 'write');
    assert.deepEqual(pids(await list()), [child]);
    assert.equal(await user.tell('lockDisks', { disks: [disk] }), 'IN_USE', 'it is no longer its own');
    process.kill(child, 'SIGKILL');
    await untilFree(disk);
  });

  test('abandon gives nothing back: the locks go with the process', async () => {
    const user = await holding();
    assert.equal(await user.tell('abandon'), 'abandoned, lost');
    assert.equal(lockOn(disk), 'write');
    assert.equal((await call(['run', '--disk', disk, '--', 'true'])).status, 75);
    await user.kill();
    assert.equal(lockOn(disk), 'none');
    assert.deepEqual(await list(), []);
  });
});

describe('a guest that changes', () => {
  test('extend locks more, shrink gives back, and list follows', async () => {
    const user = await holding();
    const labels = async (): Promise<string[]> =>
      (await list())
        .flatMap(({ resources }) => resources.map(({ label, mode }) => `${label} ${mode}`))
        .toSorted();
    assert.equal(await user.tell('extend', { disks: [`${second}:shared`] }), 'held');
    assert.deepEqual(locks(), ['write', 'read']);
    assert.deepEqual(await labels(), [`${disk} exclusive`, `${second} shared`]);
    assert.equal((await call(['run', '--disk', second, '--', 'true'])).status, 75);
    assert.equal(await user.tell('shrink', { names: [disk] }), 'held');
    assert.deepEqual(locks(), ['none', 'read']);
    assert.deepEqual(await labels(), [`${second} shared`]);
    assert.equal(await user.tell('shrink', { names: [disk] }), 'USAGE');
    assert.equal(await user.tell('release'), 'released');
    assert.deepEqual(locks(), ['none', 'none']);
  });

  test('an extension that is refused changes nothing', async () => {
    const other = await holding([second]);
    const user = await holding([disk]);
    assert.equal(await user.tell('extend', { disks: [second] }), 'IN_USE');
    assert.deepEqual(locks(), ['write', 'write']);
    assert.equal((await list()).length, 2);
    await other.kill();
    assert.equal(await user.tell('extend', { disks: [second] }), 'held');
  });

  test('a command keeps what it inherited, not what was added after its start', async () => {
    const user = await holding();
    const child = Number(await user.tell('spawn', sleeping));
    assert.equal(await user.tell('extend', { disks: [second] }), 'held');
    assert.equal(await user.tell('handOver'), 'USAGE', 'nobody who runs has all of the locks');
    await user.kill();
    assert.deepEqual(locks(), ['write', 'none']);
    process.kill(child, 'SIGKILL');
  });
});
