import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { findHolders, findUnlockedUse } from '../../src/holders/find-holders.js';
import type { Resource } from '../../src/vocabulary.js';
import { threadWithTable } from '../beds/thread-with-table.js';
import { until } from '../beds/until.js';
import { needs } from '../needs.js';
import { resourceAt, startActor, startQemu } from './actor.js';
import { attachLoop, attachPartitionedLoop } from './loop.js';

function image(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'unlocked-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'disk.img');
  writeFileSync(path, '');
  truncateSync(path, 8 << 20);
  return path;
}

/** What was found of one resource: pid or program, and the words. */
async function look(resource: Resource, ignorePids: readonly number[] = []): Promise<unknown[]> {
  const found = await findUnlockedUse([resource], { ignorePids });
  return (found.get(resource.identity) ?? []).map(({ pid, program, through }) => [
    pid ?? program,
    ...through,
  ]);
}

const unlocked = 'no lock: open for writing';

test('nobody, readers and those with a lock are no unlocked use', async (t) => {
  const path = image(t);
  const reader = openSync(path, 'r');
  assert.deepEqual(await look(resourceAt(path)), []);
  const code = `const fd = fs.openSync(${JSON.stringify(path)}, 'r+');`;
  const locks = [
    'OFD, WRITE, 0, 1',
    'OFD, READ, 0, 2',
    'POSIX, WRITE, 0, 1',
    'OFD, READ, 100, 2',
    'POSIX, READ, 201, 1',
    'OFD, READ, 0, 0',
  ];
  for (const lock of locks) {
    await using _ = await startActor(`${code} lock(fd, ${lock});`);
    assert.deepEqual(await look(resourceAt(path)), [], lock);
  }
  closeSync(reader);
});

test('a writer without a lock, or with one where nobody looks', async (t) => {
  const path = image(t);
  const code = `const fd = fs.openSync(${JSON.stringify(path)}, 'r+');`;
  for (const [lock, ...words] of [
    [''],
    ['flock(fd, 2)', 'flock(2)'],
    ['lock(fd, OFD, WRITE, 5000, 1)', 'an OFD write lock on bytes 5000 to 5000'],
  ]) {
    await using actor = await startActor(`${code} ${lock};`);
    assert.deepEqual(await look(resourceAt(path)), [[actor.pid, ...words, unlocked]], lock);
    assert.deepEqual(await look(resourceAt(path), [actor.pid]), []);
  }
});

test('a QEMU with its lock is left to the lock drivers, one without is found', async (t) => {
  if (!needs(t, 'qemu')) return;
  const path = image(t);
  {
    await using _ = await startQemu(path, ['-name', 'web1']);
    assert.deepEqual(await look(resourceAt(path)), []);
  }
  await using qemu = await startQemu(path, ['-name', 'web1'], ',file.locking=off');
  assert.deepEqual(await look(resourceAt(path)), [[qemu.pid, unlocked]]);
});

test('who writes under the lock of an ancestor is covered', async (t) => {
  const path = image(t);
  const child = `
    const { spawn } = await import('node:child_process');
    const child = spawn('sh', ['-c', 'sh -c "exec sleep 1000 4<>$0"; :', path], { detached: true });
    process.on('exit', () => process.kill(-child.pid, 'SIGKILL'));
    const open = () => fs.readdirSync('/proc').some((pid) => { try { return fs.readlinkSync('/proc/' + pid + '/fd/4') === path; } catch { return false; } });
    while (!open()) await new Promise((resolve) => setTimeout(resolve, 5));`;
  for (const covered of [true, false]) {
    const lock = covered ? `lock(fs.openSync(path, 'r+'), OFD, WRITE, 0, 1);` : '';
    const parent = await startActor(`const path = ${JSON.stringify(path)}; ${lock} ${child}`);
    const found = await look(resourceAt(path));
    const ended = new Promise((resolve) => parent.child.once('exit', resolve));
    parent.child.stdin?.end();
    await ended;
    assert.equal(found.length, covered ? 0 : 1);
  }
});

test('this process: found, unless it is to be ignored; others beside it are found all the same', async (t) => {
  const path = image(t);
  const fd = openSync(path, 'r+');
  assert.deepEqual(await look(resourceAt(path)), [[process.pid, unlocked]]);
  assert.deepEqual(await look(resourceAt(path), [process.pid]), []);
  await using actor = await startActor(`fs.openSync(${JSON.stringify(path)}, 'a');`);
  assert.deepEqual(await look(resourceAt(path), [process.pid]), [[actor.pid, unlocked]]);
  closeSync(fd);
});

test('by whatever name, and when the path leads elsewhere by now', async (t) => {
  const path = image(t);
  linkSync(path, `${path}.hard`);
  symlinkSync(path, `${path}.soft`);
  const planned = resourceAt(`${path}.soft`);
  await using actor = await startActor(`fs.openSync(${JSON.stringify(`${path}.hard`)}, 'r+');`);
  assert.deepEqual(await look(planned), [[actor.pid, unlocked]]);
  renameSync(path, `${path}.old`);
  writeFileSync(path, 'another');
  assert.deepEqual(await look(planned), [[actor.pid, unlocked]]);
  assert.deepEqual(await look(resourceAt(path)), []);
});

test('a writer that only has it mapped is named', async (t) => {
  const path = image(t);
  await using actor = await startActor(`
    const fd = fs.openSync(${JSON.stringify(path)}, 'r+');
    mmap(null, 4096, 3, 1, fd, 0);
    fs.closeSync(fd);`);
  assert.deepEqual(await look(resourceAt(path)), [[actor.pid, 'no lock: mapped for writing']]);
});

test('a writer that does not show at all: that there is one is said', async (t) => {
  if (!needs(t, 'root')) return;
  const path = image(t);
  await using actor = await startActor(`hide(fs.openSync(${JSON.stringify(path)}, 'r+'));`);
  assert.ok(actor.pid > 0);
  const unseen = [undefined, 'no lock: open for writing by a program that cannot be seen from here'];
  assert.deepEqual(await look(resourceAt(path)), [unseen]);
  const { holders } = await findHolders(resourceAt(path));
  assert.deepEqual(
    holders.map(({ pid, through, refuses }) => [pid, ...through, refuses]),
    [[...unseen, ['exclusive', 'shared']]],
  );
});

test('a writer in a thread with descriptors of its own is named: the kernel said that there is one', async (t) => {
  const path = image(t);
  await using actor = await startActor(threadWithTable({ path, flags: 'r+', mainEnds: false }));
  assert.deepEqual(await look(resourceAt(path)), [[actor.pid, unlocked]]);
});

test('a program that claims a block device (O_EXCL) is one holder; who only reads may have claimed it', async (t) => {
  if (!needs(t, 'root', 'losetup')) return;
  const device = attachLoop(t, image(t));
  const open = (flags: string): string =>
    `fs.openSync(${JSON.stringify(device)}, ${flags} | fs.constants.O_EXCL);`;
  const through = async (): Promise<unknown> =>
    (await findHolders(resourceAt(device), { everyone: true })).holders
      .filter(({ evidence }) => !evidence.some((one) => one.includes('backing_file')))
      .map(({ pid, program, through: words }) => [pid, program, ...words]);
  {
    await using writer = await startActor(open('fs.constants.O_RDWR'));
    assert.deepEqual(await look(resourceAt(device)), [[writer.pid, unlocked]]);
    assert.deepEqual(await through(), [[writer.pid, 'node', unlocked]]);
  }
  await using reader = await startActor(open('fs.constants.O_RDONLY'));
  const perhaps = `claimed: by process ${reader.pid}, or by the kernel for something that cannot be seen from here`;
  assert.deepEqual(await look(resourceAt(device)), [[undefined, perhaps]]);
  assert.deepEqual(await through(), [
    [reader.pid, 'node', 'reads it, without a lock'],
    [undefined, undefined, perhaps],
  ]);
});

test('a writer of a block device in a thread with descriptors of its own is found by who alone', async (t) => {
  if (!needs(t, 'root', 'losetup')) return;
  const path = attachLoop(t, image(t));
  await using actor = await startActor(threadWithTable({ path, flags: 'r+', mainEnds: false }));
  const { holders } = await findHolders(resourceAt(path), { everyone: true });
  const [holder] = holders.filter(({ pid }) => pid !== undefined);
  assert.deepEqual(
    [holder?.pid, holder?.through, holder?.refuses],
    [actor.pid, [unlocked], ['exclusive', 'shared']],
  );
  assert.match(holder?.evidence[0] ?? '', new RegExp(`^/proc/${actor.pid}/task/\\d+/fd/\\d+ -> ${path} `));
  // No lease tells of a block device, and looking at each thread would be dear at each start (docs/holders.md).
  assert.deepEqual(await look(resourceAt(path)), []);
  await using ended = await startActor(threadWithTable({ path, flags: 'r+', mainEnds: true }));
  await until(async () => (await look(resourceAt(path))).length === 1, 'the main thread to end');
  assert.deepEqual(await look(resourceAt(path)), [[ended.pid, unlocked]]);
});

test('many resources in one look, each with its own use', async (t) => {
  const paths = Array.from({ length: 60 }, () => image(t));
  const [first = '', , third = ''] = paths;
  await using actor = await startActor(
    `for (const path of ${JSON.stringify([first, third])}) fs.openSync(path, 'r+');`,
  );
  const found = await findUnlockedUse(paths.map((path) => resourceAt(path)));
  assert.deepEqual([...found.keys()].toSorted(), [first, third].toSorted());
  assert.equal(found.get(first)?.[0]?.pid, actor.pid);
});

test('what is neither a file nor a block device is passed over', async () => {
  const found = await findUnlockedUse([
    { kind: 'disk', identity: 'rbd:x', label: 'rbd:x', storage: 'network', scope: 'cluster' },
    { kind: 'domain', identity: 'domain:x', label: 'x', storage: 'name', scope: 'host' },
    resourceAt(tmpdir(), { storage: 'directory' }),
  ]);
  assert.deepEqual([...found], []);
});

test('a loop device on a file; the loop device itself while idle; the file behind it written', async (t) => {
  if (!needs(t, 'root', 'losetup')) return;
  const path = image(t);
  const device = attachLoop(t, path);
  assert.deepEqual(await look(resourceAt(path)), [['the kernel', `loop device ${device}`]]);
  assert.deepEqual(await look(resourceAt(device)), []);
  await using actor = await startActor(`fs.openSync(${JSON.stringify(path)}, 'r+');`);
  assert.deepEqual(await look(resourceAt(device)), [[actor.pid, `${unlocked} (on ${path})`]]);
});

test('a mounted partition: in use are it and its disk, not the other partition', async (t) => {
  if (!needs(t, 'root', 'losetup', 'mkfs.ext4')) return;
  const path = image(t);
  const device = attachPartitionedLoop(t, path);
  const point = join(path, '../mnt');
  mkdirSync(point);
  execFileSync('mkfs.ext4', ['-q', '-F', `${device}p2`]);
  execFileSync('mount', [`${device}p2`, point]);
  try {
    assert.deepEqual(await look(resourceAt(`${device}p2`)), [['the kernel', `mounted on ${point}`]]);
    assert.deepEqual(await look(resourceAt(device)), [['the kernel', `${device}p2 mounted on ${point}`]]);
    assert.deepEqual(await look(resourceAt(`${device}p1`)), []);
  } finally {
    execFileSync('umount', [point]);
  }
});

test('who writes a partition uses its disk, whatever lock it has on the partition', async (t) => {
  if (!needs(t, 'root', 'losetup', 'qemu')) return;
  const device = attachPartitionedLoop(t, image(t));
  await using qemu = await startQemu(`${device}p1`, ['-name', 'web1']);
  assert.deepEqual(await look(resourceAt(`${device}p1`)), [], 'its lock is met there');
  assert.deepEqual(await look(resourceAt(`${device}p2`)), []);
  assert.deepEqual(await look(resourceAt(device)), [[qemu.pid, `QEMU's own image lock (on ${device}p1)`]]);
});
