/** One storage under many names, with real parts: whatever the path, one identity. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { linkSync, mkdirSync, renameSync, statSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { makePlan } from '../../src/plan/make-plan.js';
import { deviceName } from '../../src/system/inode.js';
import type { LockRequest, Plan } from '../../src/vocabulary.js';
import { needs, skipBecause } from '../needs.js';
import { disk, guest, itemOf, scratch } from './guest.js';

async function request(path: string): Promise<LockRequest> {
  const plan = await makePlan(guest([disk(path)]));
  const found = plan.requests.find(({ resource }) => resource.label === path);
  assert.ok(found, `no request for ${path}`);
  return found;
}

async function identity(path: string): Promise<string> {
  return (await request(path)).resource.identity;
}

function parts(plan: Plan): string[] {
  return plan.requests.filter(({ mode }) => mode === 'part').map(({ resource }) => resource.identity);
}

const imageBytes = 4 * 1024 * 1024;

/** Attaches a file to a loop device until the test ends; undefined: it cannot be done here. */
function attach(t: TestContext, file: string, ...options: string[]): string | undefined {
  const { status, stdout, stderr } = spawnSync('losetup', ['-f', '--show', ...options, file], {
    encoding: 'utf8',
  });
  if (status !== 0) {
    skipBecause(t, `no loop device can be had: ${stderr}`);
    return undefined;
  }
  const device = stdout.trim();
  t.after(() => execFileSync('losetup', ['-d', device]));
  return device;
}

test('a symlink, a link to it, a hard link, `..`, and a new name', async (t) => {
  const folder = scratch(t);
  const path = join(folder, 'a.img');
  writeFileSync(path, '');
  mkdirSync(join(folder, 'd'));
  symlinkSync('a.img', join(folder, 'one'));
  symlinkSync(join(folder, 'one'), join(folder, 'two'));
  linkSync(path, join(folder, 'hard'));
  const expected = await identity(path);
  for (const name of ['one', 'two', 'hard', 'd/../a.img']) {
    assert.equal(await identity(`${folder}/${name}`), expected);
  }
  const { resource } = await request(join(folder, 'two'));
  assert.equal(resource.path, join(folder, 'two'));
  assert.equal(resource.realPath, path);
  renameSync(path, join(folder, 'renamed'));
  assert.equal(await identity(join(folder, 'renamed')), expected);
  writeFileSync(path, '');
  assert.notEqual(await identity(path), expected);
});

test('a bind mount, of the folder and of the file', async (t) => {
  if (!needs(t, 'root', 'unshare')) return;
  const folder = scratch(t);
  const path = join(folder, 'a.img');
  mkdirSync(join(folder, 'bound'));
  mkdirSync(join(folder, 'images'));
  writeFileSync(join(folder, 'images/a.img'), '');
  writeFileSync(path, '');
  const script = `
    import { makePlan } from './src/plan/make-plan.ts';
    const owner = { kind: 'command', name: 'x', uuid: '' };
    const disks = process.argv.slice(1).map((path) =>
      ({ role: 'disk', label: path, source: { type: 'file', path }, mode: 'read', optional: false }));
    const { items } = await makePlan({ owner, disks, leases: [] });
    console.log(JSON.stringify(items.map((item) => item.resource.identity)));`;
  const node = `'${process.execPath}' --import tsx --input-type=module -e "$SCRIPT" -- "$@"`;
  const commands = `mount --bind "$D/images" "$D/bound" && mount --bind "$D/images/a.img" "$D/a.img" && ${node}`;
  const args = ['images/a.img', 'bound/a.img', 'a.img'].map((name) => join(folder, name));
  const { status, stdout, stderr } = spawnSync('unshare', ['-m', 'sh', '-c', commands, 'sh', ...args], {
    encoding: 'utf8',
    env: { ...process.env, SCRIPT: script, D: folder },
  });
  if (/mount.*(permission denied|not permitted)/i.test(stderr)) return skipBecause(t, stderr.trim());
  assert.equal(status, 0, stderr);
  const [direct, ...bound] = JSON.parse(stdout) as string[];
  assert.ok(direct);
  assert.deepEqual(bound, [direct, direct]);
});

test('a loop device asks for a part of its file; a second one on the file is the same disk', async (t) => {
  if (!needs(t, 'root', 'losetup')) return;
  const path = join(scratch(t), 'a.img');
  writeFileSync(path, Buffer.alloc(imageBytes));
  const file = await identity(path);
  const first = attach(t, path);
  const second = attach(t, path);
  const behind = attach(t, path, '-o', '1048576');
  if (first === undefined || second === undefined || behind === undefined) return;
  const plan = await makePlan(guest([disk(first, { target: 'vda' })]));
  assert.deepEqual(parts(plan), [file]);
  assert.equal(itemOf(plan, path).role, 'ancestor');
  assert.equal(itemOf(plan, path).of, first);
  assert.equal(await identity(first), await identity(second));
  assert.notEqual(await identity(first), await identity(behind));
  assert.deepEqual(parts(await makePlan(guest([disk(behind)]))), [file]);

  const both = await makePlan(guest([disk(first, { target: 'vda' }), disk(path, { target: 'vdb' })]));
  const refused = both.items.filter(({ code }) => code === 'SAME_DISK_TWICE');
  assert.deepEqual(refused.map(({ label }) => label).toSorted(), [path, path]);
  assert.match(refused[0]?.reason ?? '', /vdb/);
});

test('a partition asks for a part of its disk, and of what is below', async (t) => {
  if (!needs(t, 'root', 'losetup')) return;
  const folder = scratch(t);
  const path = join(folder, 'a.img');
  writeFileSync(path, Buffer.alloc(imageBytes));
  const device = attach(t, path);
  if (device === undefined) return;
  // Not every kernel reads partition tables; any can be told of a partition (addpart(8)).
  execFileSync('addpart', [device, '1', '2048', '2048']);
  t.after(() => execFileSync('delpart', [device, '1']));
  const partition = `${device}p1`;
  const whole = await identity(device);
  assert.equal(await identity(partition), `${whole}:part:1`);
  const plan = await makePlan(guest([disk(partition)]));
  assert.deepEqual(parts(plan), [await identity(path), whole].toSorted());
  const both = await makePlan(guest([disk(partition, { target: 'vda' }), disk(device, { target: 'vdb' })]));
  assert.match(itemOf(both, partition).verdict, /lock/);
  const refused = both.items.filter(({ code }) => code === 'SAME_DISK_TWICE');
  assert.deepEqual(
    refused.map(({ label }) => label),
    [device, device],
  );
  assert.match(refused[0]?.remedy ?? '', /a part of it/);
});

test('a second node of a device is the same device', async (t) => {
  if (!needs(t, 'root', 'losetup')) return;
  const folder = scratch(t);
  const path = join(folder, 'a.img');
  writeFileSync(path, Buffer.alloc(imageBytes));
  const device = attach(t, path);
  if (device === undefined) return;
  const { rdev } = statSync(device, { bigint: true });
  const [major, minor] = deviceName(rdev).split(':');
  const node = join(folder, 'node');
  execFileSync('mknod', [node, 'b', major ?? '', minor ?? '']);
  assert.equal(await identity(node), await identity(device));
  assert.equal((await request(node)).resource.device, `${major}:${minor}`);
});

test('a loop device whose file lost its name, or whose name leads elsewhere, is refused', async (t) => {
  if (!needs(t, 'root', 'losetup')) return;
  const folder = scratch(t);
  const file = join(folder, 'behind.img');
  writeFileSync(file, Buffer.alloc(imageBytes));
  const device = attach(t, file);
  if (device === undefined) return;
  const refusal = async (): Promise<string | undefined> =>
    (await makePlan(guest([disk(device)]))).items.find(({ verdict }) => verdict === 'refuse')?.code;
  assert.equal(await refusal(), undefined);
  renameSync(file, join(folder, 'moved.img'));
  assert.equal(await refusal(), undefined, 'the kernel follows a new name');
  writeFileSync(join(folder, 'other.img'), Buffer.alloc(imageBytes));
  const covered = join(folder, 'moved.img');
  execFileSync('mount', ['--bind', join(folder, 'other.img'), covered]);
  try {
    assert.equal(await refusal(), 'CANNOT_LOCK');
  } finally {
    execFileSync('umount', [covered]);
  }
  unlinkSync(covered);
  assert.equal(await refusal(), 'CANNOT_LOCK');
  const allowed = await makePlan(guest([disk(device)]), { allowUnlocked: true });
  assert.match(allowed.notes.join(), /NOT LOCKED: .*has no name here any more/);
});
