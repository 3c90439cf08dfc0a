/** One disk, however it is reached: held by one way, it is refused by all others. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, describe, test, type TestContext } from 'node:test';
import {
  call,
  commandFolder,
  endLeftProcesses,
  holdfast,
  start,
  type Ended,
  type Running,
} from '../beds/command.js';
import { lockOn, untilFree } from '../beds/observed-lock.js';
import { domainXml, end, rawDisk } from '../beds/qemu.js';
import { attachLoop, attachPartitionedLoop } from '../holders/loop.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const disk = rawDisk(join(folder, 'disk.raw'));
afterEach(endLeftProcesses);

async function hold(...disks: readonly string[]): Promise<Running> {
  const asked = disks.flatMap((one) => ['--disk', one]);
  const running = start(holdfast, ['run', '-q', ...asked, '--', 'sh', '-c', 'echo up; exec sleep 1000']);
  await running.says('up');
  return running;
}

const attempt = (path: string): Promise<Ended> => call(['run', '--disk', path, '--', 'echo', 'ran']);

async function identityOf(path: string): Promise<string> {
  const { stdout } = await call(['plan', '--json', '--disk', path]);
  const { requests } = JSON.parse(stdout) as {
    requests: { resource: { identity: string; label: string } }[];
  };
  return requests.find(({ resource }) => resource.label === path)?.resource.identity ?? 'none';
}

/** Held by each of the ways in turn, it is refused by all of them, by the name that was asked for. */
async function excludeEachOther(ways: readonly string[]): Promise<void> {
  for (const held of ways) {
    const running = await hold(held);
    for (const asked of ways) {
      const { status, stdout, stderr } = await attempt(asked);
      assert.deepEqual([held, asked, status, stdout], [held, asked, 75, '']);
      assert.ok(stderr.includes(`${asked} is in use`), stderr);
      assert.match(stderr, new RegExp(`pid ${running.pid}\\b`));
    }
    await end(running);
  }
  for (const way of ways) assert.equal((await attempt(way)).stdout, 'ran\n');
}

describe('a file', () => {
  test('by a symlink, a hard link, and a path with dots', async () => {
    mkdirSync(join(folder, 'other'));
    symlinkSync(disk, join(folder, 'other', 'symlink'));
    symlinkSync('other', join(folder, 'folder-link'));
    linkSync(disk, join(folder, 'other', 'hard'));
    const ways = [
      disk,
      join(folder, 'folder-link/symlink'),
      join(folder, 'other/hard'),
      `${folder}/other/../disk.raw`,
    ];
    const identities = await Promise.all(ways.map(identityOf));
    assert.equal(new Set(identities).size, 1, identities.join('\n'));
    await excludeEachOther(ways);
  });

  test('by a relative path', async () => {
    const running = await hold(disk);
    const refused = await call(['run', '--disk', 'disk.raw', '--', 'true'], { cwd: folder });
    assert.equal(refused.status, 75);
    await end(running);
  });

  test('by two of its names in one guest: refused, and both disks named', async () => {
    const xml = join(folder, 'twice.xml');
    writeFileSync(xml, domainXml('twice', [{ path: disk }, { path: join(folder, 'other/hard') }]));
    const { status, stderr } = await call(['run', '--xml', xml, '--', 'echo', 'ran']);
    assert.equal(status, 65, stderr);
    assert.match(stderr, /disk\.raw.*the same storage as vdb .*other\/hard/);
    assert.equal(lockOn(disk), 'none');
  });

  test('by a bind mount, in a mount name space of its own', { skip: lacks('root', 'unshare') }, async () => {
    const mounted = join(folder, 'mounted');
    mkdirSync(mounted);
    const bind = 'mount --bind "$1" "$2" && shift 2 && exec "$@"';
    const inside = (...command: readonly string[]): Running =>
      start('unshare', [
        '-m',
        '--propagation',
        'private',
        'sh',
        '-c',
        bind,
        'sh',
        folder,
        mounted,
        ...command,
      ]);
    const path = join(mounted, 'disk.raw');

    const running = await hold(disk);
    const refused = await inside(holdfast, 'run', '--disk', path, '--', 'echo', 'ran').ended;
    assert.deepEqual([refused.status, refused.stdout], [75, ''], refused.stderr);
    assert.match(refused.stderr, new RegExp(`pid ${running.pid}\\b`));
    await end(running);

    const other = inside(holdfast, 'run', '-q', '--disk', path, '--', 'sh', '-c', 'echo up; exec sleep 1000');
    await other.says('up');
    const back = await attempt(disk);
    assert.equal(back.status, 75);
    assert.match(back.stderr, new RegExp(`pid ${other.pid}\\b`));
    await end(other);
  });
});

describe('renamed while it is held', () => {
  test('it is refused by its new name, and what stands at the old one is another disk', async () => {
    const before = rawDisk(join(folder, 'before.raw'));
    const after = join(folder, 'after.raw');
    const running = await hold(before);
    renameSync(before, after);
    const refused = await attempt(after);
    assert.equal(refused.status, 75);
    assert.match(refused.stderr, new RegExp(`pid ${running.pid}\\b`));
    assert.equal((await attempt(before)).status, 66, 'there is nothing at the old name');
    rawDisk(before);
    assert.equal((await attempt(before)).stdout, 'ran\n');
    await end(running);
    await untilFree(after);
    assert.equal((await attempt(after)).stdout, 'ran\n');
  });

  test('another file that is moved to its name is another disk', async () => {
    const name = rawDisk(join(folder, 'name.raw'));
    const running = await hold(name);
    renameSync(rawDisk(join(folder, 'newcomer.raw')), name);
    assert.equal((await attempt(name)).stdout, 'ran\n');
    await end(running);
  });
});

describe('block devices', { skip: lacks('root', 'losetup') }, () => {
  /** A loop device with two partitions, and nodes of the test's own for all three. */
  const loopDisk = (t: TestContext, name: string): { image: string; loop: string; nodes: string[] } => {
    const image = join(folder, name);
    writeFileSync(image, '');
    truncateSync(image, 8 << 20);
    const loop = attachPartitionedLoop(t, image);
    const nodes = ['', 'p1', 'p2'].map((part) => {
      const numbers = readFileSync(`/sys/class/block/${basename(loop)}${part}/dev`, 'utf8')
        .trim()
        .split(':');
      const node = join(folder, `${name}-node${part}`);
      execFileSync('mknod', [node, 'b', ...numbers]);
      return node;
    });
    return { image, loop, nodes };
  };

  test('a second node of the device, and a symlink to it', async (t) => {
    const { loop, nodes } = loopDisk(t, 'nodes');
    const link = join(folder, 'by-id');
    symlinkSync(loop, link);
    await excludeEachOther([loop, nodes[0] ?? '', link]);
  });

  test('the file behind a loop device', async (t) => {
    const image = rawDisk(join(folder, 'behind.raw'));
    const running = await hold(image);
    const loop = attachLoop(t, image);
    const refused = await attempt(loop);
    assert.equal(refused.status, 75, refused.stdout);
    assert.match(refused.stderr, new RegExp(`pid ${running.pid}\\b`));
    await end(running);

    const other = await hold(loop);
    const back = await attempt(image);
    assert.equal(back.status, 75);
    assert.match(back.stderr, new RegExp(`pid ${other.pid}\\b`));
    await end(other);
    await untilFree(image);
  });

  test('a partition excludes its disk and the file behind it, and the reverse; not its neighbour', async (t) => {
    const { image, loop, nodes } = loopDisk(t, 'partitions');
    const [, first = '', second = ''] = nodes;
    for (const [held, refused] of [
      [first, [first, loop, image]],
      [loop, [first, second, image]],
    ] as const) {
      const running = await hold(held);
      for (const asked of refused) {
        const { status, stderr } = await attempt(asked);
        assert.deepEqual([held, asked, status], [held, asked, 75]);
        assert.match(stderr, new RegExp(`pid ${running.pid}\\b`));
      }
      if (held === first) assert.equal((await attempt(second)).stdout, 'ran\n');
      await end(running);
    }
    const both = await hold(first);
    const neighbour = await hold(second);
    assert.equal((await attempt(loop)).status, 75);
    await end(both);
    assert.equal((await attempt(loop)).status, 75, 'one partition is still held');
    await end(neighbour);
    assert.equal((await attempt(loop)).stdout, 'ran\n');
  });

  test(
    'a disk whose partition is mounted is refused, and the mount is named',
    { skip: lacks('mkfs.ext4') },
    async (t) => {
      const { loop, nodes } = loopDisk(t, 'mounted-partition');
      const place = join(folder, 'place');
      mkdirSync(place);
      execFileSync('mkfs.ext4', ['-q', '-F', nodes[1] ?? ''], { stdio: 'ignore' });
      execFileSync('mount', [nodes[1] ?? '', place]);
      const unmount = (): unknown => execFileSync('umount', [place]);
      try {
        const { status, stderr } = await attempt(loop);
        assert.equal(status, 75, stderr);
        assert.ok(stderr.includes(`mounted on ${place}`), stderr);
        assert.equal((await attempt(nodes[2] ?? '')).stdout, 'ran\n', 'the other partition is free');
      } finally {
        unmount();
      }
    },
  );
});
