import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { isHoldfastError } from '../../src/errors.js';
import { makePlan } from '../../src/plan/make-plan.js';
import type { DiskDescription, ErrorCode, GuestDescription } from '../../src/vocabulary.js';
import { argument, asked, disk, guest, itemOf, scratch, uuid } from './guest.js';

async function failsWith(code: ErrorCode, description: GuestDescription, text: RegExp): Promise<void> {
  await assert.rejects(makePlan(description), (error) => {
    assert.ok(isHoldfastError(error, code), String(error));
    assert.match(error.message, text);
    return true;
  });
}

const without = (source: DiskDescription['source'], more: Partial<DiskDescription> = {}): DiskDescription =>
  disk('/none', { label: 'x', source, ...more });

test('a guest: the domain first, disks, leases; requests sorted by identity', async (t) => {
  const folder = scratch(t);
  const [a, b] = [join(folder, 'a.img'), join(folder, 'b.img')];
  writeFileSync(a, '');
  writeFileSync(b, '');
  const leases = [{ label: 'ls:key', lockspace: 'ls', key: 'key', offset: 0 }];
  const plan = await makePlan(
    { ...guest([disk(b), disk(a, { mode: 'read' })], { kind: 'domain', leases }), onLockFailure: 'pause' },
    { hostId: 'HOST' },
  );
  assert.deepEqual(
    plan.items.map(({ role, label, verdict, mode }) => [role, label, verdict, mode]),
    [
      ['domain', 'web1', 'lock', 'exclusive'],
      ['disk', b, 'lock', 'exclusive'],
      ['disk', a, 'lock', 'read'],
      ['lease', 'ls:key', 'lock', 'exclusive'],
    ],
  );
  const identities = plan.requests.map(({ resource }) => resource.identity);
  assert.deepEqual(identities, identities.toSorted());
  assert.equal(identities[0], `domain:${uuid}`);
  assert.equal(identities.at(-1), 'lease:ls:key');
  assert.match(identities[1] ?? '', /^file:HOST:\d+:\d+:\d+$/);
  assert.equal(plan.onLockFailure, 'pause');
  const { resource } = itemOf(plan, b);
  assert.deepEqual([resource?.path, resource?.realPath, resource?.storage], [b, b, 'file']);
});

test('a plain command has no domain to lock', async () => {
  assert.deepEqual((await makePlan(guest([]))).items, []);
});

test('a file that is missing, unless it may be', async (t) => {
  const gone = join(scratch(t), 'gone.img');
  await failsWith('NO_SUCH_FILE', guest([disk(gone)]), /gone\.img \(disk t-gone\.img\) does not exist/);
  await failsWith('NO_SUCH_FILE', guest([disk(join(gone, 'x'))]), /does not exist/);
  await failsWith('NO_SUCH_FILE', guest([disk('/\0')]), /does not exist/);
  const plan = await makePlan(guest([disk(gone, { optional: true })]));
  assert.equal(itemOf(plan, gone).verdict, 'skip');
  assert.deepEqual(plan.requests, []);
});

test('who writes a mode that there is not is told the form; a path that just has a colon is not', async (t) => {
  const folder = scratch(t);
  const path = join(folder, 'web1.img');
  writeFileSync(path, '');
  for (const wrong of ['ro', 'format=qcow2', 'ro:format=qcow2', 'rw,format=raw']) {
    const remedy = `There is ${path}; to say how to lock it, write --disk PATH[:exclusive|shared|read|peek][:format=FORMAT].`;
    await assert.rejects(makePlan(guest([disk(`${path}:${wrong}`)])), { code: 'NO_SUCH_FILE', remedy });
  }
  for (const other of [join(folder, 'none.img:ro'), join(folder, ':ro'), `${path}:a/b`]) {
    await assert.rejects(makePlan(guest([disk(other)])), { code: 'NO_SUCH_FILE', remedy: 'Check the path.' });
  }
});

test('links in a circle lead to no file', async (t) => {
  const path = join(scratch(t), 'circle');
  symlinkSync('circle', path);
  await failsWith('NO_SUCH_FILE', guest([disk(path)]), /leads nowhere: its symlinks .*ELOOP/);
});

test('an error points at the place in the XML', async () => {
  const place = { file: 'guest.xml', line: 12, column: 7 };
  await assert.rejects(makePlan(guest([disk('/no/such', { place })])), { place, resource: '/no/such' });
});

test('what is no disk is refused without blocking', async (t) => {
  const pipe = join(scratch(t), 'pipe');
  execFileSync('mkfifo', [pipe]);
  for (const path of [pipe, '/dev/null']) await failsWith('NOT_A_DISK', guest([disk(path)]), /is neither/);
});

test('persistent memory can be a character device, and goes by its number', async () => {
  const plan = await makePlan(guest([disk('/dev/null', { role: 'memory' })]), { hostId: 'H' });
  assert.deepEqual(plan.requests[0]?.resource, {
    kind: 'disk',
    identity: 'char:H:1:3',
    label: '/dev/null',
    storage: 'name',
    scope: 'host',
  });
});

test('a file that may not be read', async (t) => {
  const path = join(scratch(t), 'secret.img');
  writeFileSync(path, '', { mode: 0o000 });
  if (process.getuid?.() === 0) {
    const script = `
      import { makePlan } from './src/plan/make-plan.ts';
      process.setuid(65534);
      const disk = { role: 'disk', label: 'x', source: { type: 'file', path: ${JSON.stringify(path)} }, mode: 'read', optional: false };
      const owner = { kind: 'command', name: 'x', uuid: '' };
      await makePlan({ owner, disks: [disk], leases: [] }).catch((error) => console.log(error.code));`;
    execFileSync('chmod', ['755', join(path, '..')]);
    const args = ['--import', 'tsx', '--input-type=module', '-e', script];
    assert.equal(execFileSync(process.execPath, args, { encoding: 'utf8' }).trim(), 'NOT_READABLE');
    return;
  }
  await failsWith('NOT_READABLE', guest([disk(path)]), /cannot be read/);
});

test('a relative path is refused', async () => {
  await failsWith('RELATIVE_PATH', guest([disk('a.img')]), /relative/);
});

test('a directory is a resource of its own', async (t) => {
  const folder = scratch(t);
  const plan = await makePlan(guest([disk(folder, { source: { type: 'dir', path: folder } })]));
  assert.equal(itemOf(plan, folder).resource?.storage, 'directory');
});

test('network disks are planned; whether they can be locked is a driver’s question', async () => {
  const source = { type: 'network', protocol: 'rbd', name: 'vms/a', hosts: ['mon1'] } as const;
  const plan = await makePlan(guest([without(source)]));
  assert.deepEqual(itemOf(plan, 'x').resource, {
    kind: 'disk',
    identity: 'net:rbd::vms/a',
    label: 'x',
    storage: 'network',
    scope: 'cluster',
  });
});

test('what the plan leaves alone, with the reason', async (t) => {
  const path = join(scratch(t), 'a.img');
  writeFileSync(path, '');
  const plan = await makePlan(
    guest([
      without({ type: 'none' }, { label: 'empty' }),
      without({ type: 'vhostuser', path: '/run/s' }, { label: 'socket' }),
      disk('/no/such', { label: 'left', skip: 'because' }),
      disk(path, { label: 'peeked', mode: 'peek' }),
    ]),
  );
  assert.deepEqual(
    plan.items.map(({ verdict, reason, mode }) => [verdict, reason, mode]),
    [
      ['skip', 'an empty drive', undefined],
      ['skip', 'its storage belongs to the process behind the socket, which has to lock it', undefined],
      ['skip', 'because', undefined],
      ['skip', 'only looked at: no lock', 'peek'],
    ],
  );
  assert.equal(itemOf(plan, 'peeked').resource?.path, path);
  assert.deepEqual(plan.requests, []);
});

test('a volume that nobody resolved is refused, or skipped where that is allowed', async () => {
  const description = guest([without({ type: 'volume', pool: 'p', volume: 'v' })]);
  const refused = itemOf(await makePlan(description), 'x');
  assert.deepEqual([refused.verdict, refused.code], ['refuse', 'CANNOT_LOCK']);
  const allowed = await makePlan(description, { allowUnlocked: true });
  assert.equal(itemOf(allowed, 'x').verdict, 'skip');
  assert.match(allowed.notes.join(), /NOT LOCKED: x: it is the volume v/);
  const told = guest([{ ...without({ type: 'volume', pool: 'p', volume: 'v' }), note: 'virsh is missing' }]);
  assert.match(itemOf(await makePlan(told), 'x').reason ?? '', /virsh is missing/);
});

test('an NVMe namespace', async () => {
  const plan = await makePlan(guest([without({ type: 'nvme', address: '0000:01:00.0', namespace: 2 })]), {
    hostId: 'H',
  });
  assert.deepEqual(itemOf(plan, 'x').resource?.identity, 'nvme:H:0000:01:00.0:2');
  assert.deepEqual(itemOf(plan, 'x').resource?.storage, 'name');
});

test('leases: lockspace and key, wherever they are kept; text cannot pass for another lease', async (t) => {
  const lease = (path: string | undefined, lockspace: string, key: string) => ({
    label: `${path} ${lockspace} ${key}`,
    lockspace,
    key,
    offset: 0,
    ...(path === undefined ? {} : { path }),
  });
  const identity = async (...args: Parameters<typeof lease>): Promise<string> =>
    (await makePlan(guest([], { leases: [lease(...args)] }))).requests[0]?.resource.identity ?? '';
  assert.equal(await identity(scratch(t), 'a', 'b'), 'lease:a:b');
  assert.equal(await identity(undefined, 'a', 'b'), 'lease:a:b');
  assert.notEqual(await identity(undefined, 'a:b', 'c'), await identity(undefined, 'a', 'b:c'));
  const twice = await makePlan(
    guest([], { leases: [lease(undefined, 'a', 'b'), lease(undefined, 'a', 'b')] }),
  );
  assert.equal(twice.requests.length, 1);
});

test('one disk by two names of one XML is refused, and each names the other', async (t) => {
  const folder = scratch(t);
  const [a, b] = [join(folder, 'a.img'), join(folder, 'b.img')];
  writeFileSync(a, '');
  symlinkSync(a, b);
  const plan = await makePlan(guest([disk(a, { target: 'vda' }), disk(b, { target: 'vdb' })]));
  assert.deepEqual(
    plan.items.map(({ verdict, code }) => [verdict, code]),
    [
      ['refuse', 'SAME_DISK_TWICE'],
      ['refuse', 'SAME_DISK_TWICE'],
    ],
  );
  assert.match(itemOf(plan, a).reason ?? '', /vdb .*b\.img \(exclusive\)/);
  assert.match(itemOf(plan, b).reason ?? '', /vda .*a\.img \(exclusive\)/);
  assert.deepEqual(plan.requests, []);
});

test('the same disk in modes that go together is one request', async (t) => {
  const path = join(scratch(t), 'a.img');
  writeFileSync(path, '');
  for (const mode of ['read', 'shared'] as const) {
    const plan = await makePlan(
      guest([disk(path, { mode, target: 'a' }), disk(path, { mode, target: 'b' })]),
    );
    assert.deepEqual(asked(plan), [`${mode} ${path}`]);
  }
  assert.deepEqual(asked(await makePlan(guest([argument(path), argument(path)]))), [`exclusive ${path}`]);
  assert.deepEqual(asked(await makePlan(guest([disk(path), argument(path)]))), [`exclusive ${path}`]);
  const mixed = await makePlan(guest([argument(path), argument(path, 'read')]));
  assert.deepEqual(
    mixed.items.map(({ code }) => code),
    ['SAME_DISK_TWICE', 'SAME_DISK_TWICE'],
  );
});

test('one folder under two tags is one request', async (t) => {
  const folder = scratch(t);
  const share = disk(folder, { role: 'filesystem', source: { type: 'dir', path: folder } });
  const plan = await makePlan(guest([share, { ...share, target: 'other' }]));
  assert.deepEqual(asked(plan), [`exclusive ${folder}`]);
});

test('a file system of unknown type is said', async () => {
  const plan = await makePlan(guest([disk('/proc/self/status', { mode: 'read' })]));
  assert.equal(itemOf(plan, '/proc/self/status').resource?.unknownFileSystem, 'proc');
  assert.match(plan.notes.join('\n'), /unknown file system proc: counted as local/);
  const named = await makePlan(guest([disk('/proc/self/status')]), { localFileSystems: ['proc'] });
  assert.doesNotMatch(named.notes.join('\n'), /unknown file system/);
});

test('a disk that begins like qcow2, and that nobody said is one, is told of', async (t) => {
  const path = join(scratch(t), 'a.img');
  writeFileSync(path, 'raw data');
  assert.deepEqual((await makePlan(guest([argument(path)]), { hints: true })).notes, []);
  writeFileSync(path, Buffer.from('QFI\xfb and more', 'latin1'));
  assert.match(
    (await makePlan(guest([argument(path)]), { hints: true })).notes.join(),
    /a\.img begins like a qcow2 image/,
  );
  assert.deepEqual((await makePlan(guest([disk(path, { format: 'raw' })]), { hints: true })).notes, []);
});

test('only raw images can be shared', async (t) => {
  const path = join(scratch(t), 'a.img');
  writeFileSync(path, '');
  const shared = (format: string): DiskDescription => disk(path, { mode: 'shared', format });
  assert.match((await makePlan(guest([shared('vdi')]))).notes.join(), /only raw images can be shared/);
  assert.deepEqual((await makePlan(guest([shared('raw')]))).notes, []);
});
