/** The whole examination, on this machine and with real parts. What is said of other disks here is others' business. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, closeSync, linkSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { checkLibvirt } from '../../src/doctor/check-libvirt.js';
import { examineHost, type Finding } from '../../src/doctor/examine-host.js';
import { Host } from '../../src/doctor/host.js';
import { runCheck } from '../../src/doctor/run-checks.js';
import { commandFolder } from '../beds/command.js';
import { startGlusterFs, type GlusterFs } from '../beds/glusterfs.js';
import { end, rawDisk, startQemu } from '../beds/qemu.js';
import { startVirtlockd } from '../beds/virtlockd.js';
import { attachLoop, attachPartitionedLoop } from '../holders/loop.js';
import { lacks, needs } from '../needs.js';
import { ids, only } from './recorded-host.js';

const folder = commandFolder();
const look = fileURLToPath(new URL('./look.ts', import.meta.url));
/** By its place: in other name spaces the current folder is another one. */
const node = [process.execPath, '--import', import.meta.resolve('tsx')] as const;
const [program, ...options] = node;

/** The ids of what is said of a path. */
const about = (path: string, findings: readonly Finding[]): string[] =>
  ids(findings.filter(({ subject }) => subject?.split(' and ').includes(path) === true));

const quiet = ['locks-work', 'file-system-suits', 'disk-unused'];

test('a disk as it should be; nothing is changed', async () => {
  const own = join(folder, 'quiet');
  mkdirSync(own);
  const disk = rawDisk(join(own, 'a.img'));
  const found = await examineHost([disk]);
  assert.deepEqual(about(disk, found).toSorted(), quiet.toSorted());
  assert.deepEqual(readdirSync(own), ['a.img']);
  const levels = found.map(({ level }) => ['problem', 'warning', 'note', 'fine'].indexOf(level));
  assert.deepEqual(
    levels,
    levels.toSorted((a, b) => a - b),
  );
});

test('a path that is not there, and one that is no disk', async () => {
  await assert.rejects(examineHost([join(folder, 'gone')]), { code: 'NO_SUCH_FILE', exitCode: 66 });
  await assert.rejects(examineHost(['/dev/null']), { code: 'NOT_A_DISK', exitCode: 66 });
});

test('of several paths one that leads nowhere is a finding, and the others are examined', async () => {
  const disk = rawDisk(join(folder, 'there.img'));
  const gone = join(folder, 'gone');
  const found = await examineHost([gone, disk, '/dev/null']);
  assert.deepEqual(about(gone, found), ['disk-missing']);
  assert.deepEqual(about('/dev/null', found), ['disk-missing']);
  assert.deepEqual(about(disk, found).toSorted(), quiet.toSorted());
  assert.match(found[0]?.what ?? '', /gone \(disk\) does not exist/);
  await assert.rejects(examineHost([disk, '']), { code: 'USAGE' });
});

test('a hard link, and a writer without a lock', async () => {
  const disk = rawDisk(join(folder, 'linked.img'));
  const link = join(folder, 'link.img');
  linkSync(disk, link);
  assert.ok(about(disk, await examineHost([disk, link])).includes('same-disk'));
  const fd = openSync(disk, 'r+');
  try {
    const written = only(
      (await examineHost([disk])).filter(({ subject }) => subject === disk),
      'written-without-lock',
    );
    assert.match(written.what, new RegExp(`pid ${process.pid}\\b`));
  } finally {
    closeSync(fd);
  }
  assert.ok(!about(disk, await examineHost([disk])).includes('written-without-lock'));
});

test('a loop device, its file and its partitions', async (t) => {
  if (!needs(t, 'root', 'losetup')) return;
  const disk = rawDisk(join(folder, 'loop.img'));
  const loop = attachLoop(t, disk);
  const found = await examineHost([disk, loop]);
  assert.ok(about(loop, found).includes('part-of-disk'));
  assert.match(
    only(
      found.filter(({ subject }) => subject === disk),
      'used-by-kernel',
    ).what,
    /loop/,
  );

  const whole = join(folder, 'partitioned.img');
  writeFileSync(whole, Buffer.alloc(8 << 20));
  const device = attachPartitionedLoop(t, whole);
  const parts = [`${device}p1`, `${device}p2`];
  assert.ok(about(parts[0] ?? '', await examineHost([device, parts[0] ?? ''])).includes('part-of-disk'));
  assert.ok(!about(parts[0] ?? '', await examineHost(parts)).includes('part-of-disk'));
});

test('a real QEMU: with its locks, with locking=off', async (t) => {
  if (!needs(t, 'qemu')) return;
  const [locked, bare] = [rawDisk(join(folder, 'locked.img')), rawDisk(join(folder, 'bare.img'))];
  const good = await startQemu('doctor-good', { path: locked, format: 'raw' });
  const bad = await startQemu('doctor-bad', { path: `${bare},file.locking=off`, format: 'raw' });
  try {
    const found = await examineHost([locked, bare]);
    assert.deepEqual(about(locked, found).toSorted(), quiet.toSorted());
    const unlocked = only(
      found.filter(({ subject }) => subject === bare),
      'guest-without-lock',
    );
    assert.match(unlocked.what, new RegExp(`guest "doctor-bad" \\(pid ${bad.pid}\\)`));
    assert.ok(!about(bare, found).includes('written-without-lock'), 'it is said once');
    // Without being asked about the disk, too.
    assert.ok(about(bare, await examineHost()).includes('guest-without-lock'));
  } finally {
    await end(good);
    await end(bad);
  }
  assert.deepEqual(about(bare, await examineHost([bare])).toSorted(), quiet.toSorted());
});

test('a real virtlockd that runs, and none', async (t) => {
  if (!needs(t, 'root', 'virtlockd', 'unshare')) return;
  const etc = join(folder, 'etc');
  mkdirSync(join(etc, 'libvirt'), { recursive: true });
  writeFileSync(join(etc, 'libvirt/qemu.conf'), 'lock_manager = "lockd"\n');
  const daemon = await startVirtlockd(folder);
  try {
    const found = checkLibvirt(new Host({ proc: '/proc', sys: '/sys', etc }), []);
    assert.match(only(found, 'virtlockd-running').evidence.join('\n'), /virtlockd-sock/);
  } finally {
    await daemon.stop();
  }
  // Others' tests have virtlockds of their own: so none is there only for name spaces that see nothing of them.
  const check = new URL('../../src/doctor/check-libvirt.ts', import.meta.url).href;
  const host = new URL('../../src/doctor/host.ts', import.meta.url).href;
  const script = `const { checkLibvirt } = await import(${JSON.stringify(check)});
    const { Host } = await import(${JSON.stringify(host)});
    const roots = { proc: '/proc', sys: '/sys', etc: ${JSON.stringify(etc)} };
    console.log(JSON.stringify(checkLibvirt(new Host(roots), [])));`;
  const apart = ['-m', '-n', '-p', '--fork', '--kill-child', '--mount-proc', '--propagation', 'private'];
  const { stdout, stderr } = spawnSync('unshare', [...apart, ...node, '--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  assert.notEqual(stdout, '', stderr);
  assert.equal(only(JSON.parse(stdout) as Finding[], 'virtlockd-not-running').level, 'problem');
});

test('an ordinary user is told what could not be seen', (t) => {
  if (!needs(t, 'root')) return;
  chmodSync(folder, 0o755);
  const disk = rawDisk(join(folder, 'of-root.img'));
  chmodSync(disk, 0o644);
  const env = { ...process.env, LOOK_AS: 'nobody', HOLDFAST_RUNTIME_DIR: join(folder, 'nobody') };
  const { stdout, stderr } = spawnSync(program, [...options, look, disk], {
    encoding: 'utf8',
    env,
  });
  assert.notEqual(stdout, '', stderr);
  const found = JSON.parse(stdout) as Finding[];
  assert.ok(ids(found).includes('processes-of-others'));
  assert.ok(!ids(found).includes('check-failed'), JSON.stringify(found));
  const said = found.filter(({ subject }) => subject === disk);
  assert.match(only(said, 'locks-untried').what, /the kernel answers/);
  assert.equal(only(said, 'not-writable').level, 'note');
});

test('on a file system that is mounted read-only it is that which is to be changed, and not the user', (t) => {
  if (!needs(t, 'root', 'unshare')) return;
  const point = join(folder, 'read-only');
  mkdirSync(point);
  const mount = `mount -t tmpfs none "$0" && : > "$0/a.img" && mount -o remount,ro "$0" && exec "$@"`;
  const { stdout, stderr } = spawnSync(
    'unshare',
    ['-m', '--propagation', 'private', 'sh', '-c', mount, point, ...node, look, join(point, 'a.img')],
    { encoding: 'utf8' },
  );
  assert.notEqual(stdout, '', stderr);
  const found = JSON.parse(stdout) as Finding[];
  for (const id of ['not-writable', 'locks-untried'] as const) {
    const { what, remedy } = only(
      found.filter(({ subject }) => subject === join(point, 'a.img')),
      id,
    );
    assert.match(what, /mounted read-only/);
    assert.match(remedy ?? '', /^Mount the file system for writing/);
  }
});

test("an ordinary user sees of root's guests what their command lines say", async (t) => {
  if (!needs(t, 'root', 'qemu')) return;
  const disk = rawDisk(join(folder, 'of-root-guest.img'));
  const qemu = await startQemu('doctor-root', { path: `${disk},file.locking=off`, format: 'raw' });
  try {
    const env = { ...process.env, LOOK_AS: 'nobody', HOLDFAST_RUNTIME_DIR: join(folder, 'nobody') };
    const { stdout } = spawnSync(program, [...options, look], { encoding: 'utf8', env });
    const found = JSON.parse(stdout) as Finding[];
    assert.deepEqual(about(disk, found), ['guest-locking-off']);
    assert.match(only(found, 'guests-unseen').evidence.join(), new RegExp(`pid ${qemu.pid}\\b`));
  } finally {
    await end(qemu);
  }
});

test('a check that cannot be made says so, and says nothing of the others', async () => {
  const [found] = await runCheck('moon', () => Promise.reject(new Error('no moon')), new Host(), []);
  assert.deepEqual([found?.id, found?.subject, found?.evidence], ['check-failed', 'moon', ['no moon']]);
});

test('another pid namespace, an overlay', (t) => {
  if (!needs(t, 'root', 'unshare')) return;
  const [lower, merged, work] = ['lower', 'merged', 'work'].map((name) => join(folder, name));
  for (const path of [lower, merged, work]) mkdirSync(path ?? '');
  const mount = `mount -t tmpfs none ${work} && mkdir ${work}/u ${work}/w && mount -t overlay none -o lowerdir=${lower},upperdir=${work}/u,workdir=${work}/w ${merged} && exec "$@"`;
  const apart = ['-m', '-p', '--fork', '--kill-child', '--mount-proc', '--propagation', 'private'];
  const { stdout, stderr } = spawnSync(
    'unshare',
    [...apart, 'sh', '-c', mount, 'sh', ...node, look, merged ?? ''],
    {
      encoding: 'utf8',
    },
  );
  assert.notEqual(stdout, '', stderr);
  const found = JSON.parse(stdout) as Finding[];
  assert.ok(ids(found).includes('host-not-seen'));
  assert.deepEqual(about(merged ?? '', found), ['overlay-file-system', 'locks-work']);
});

describe('GlusterFS mounted twice', { skip: lacks('root', 'unshare', 'glusterfs', 'qemu') }, () => {
  let gluster: GlusterFs;
  before(async () => {
    gluster = await startGlusterFs(folder);
  });
  after(() => gluster?.stop());

  test('locks go from one mount to the other; two mounts are one disk', async () => {
    const paths = gluster.mounts.map((mount) => join(mount, 'disk.img'));
    const [one = '', two = ''] = paths;
    await gluster.start('truncate', ['-s', '1M', one]).ended;
    const ended = await gluster.start(program, [...options, look, one, two]).ended;
    assert.notEqual(ended.stdout, '', ended.stderr);
    const found = JSON.parse(ended.stdout) as Finding[];
    const said = about(one, found);
    for (const id of ['locks-work', 'locks-reach-other-mount', 'file-system-suits', 'same-disk']) {
      assert.ok(said.includes(id), `${id} is not among ${said.join(', ')}`);
    }
    assert.match(only(found, 'same-disk').what, /two mounts/);
    assert.ok(!ids(found).includes('check-failed'), ended.stdout);
  });

  test('a guest there: its lock is seen, and its absence too', async () => {
    const [one] = gluster.mounts;
    const guest = async (name: string, option: string): Promise<string[]> => {
      const disk = join(one, `${name}.img`);
      await gluster.start('truncate', ['-s', '1M', disk]).ended;
      const drive = `file=${disk},format=raw,if=none,id=d${option}`;
      const machine = ['-display', 'none', '-nodefaults', '-S', '-accel', 'tcg', '-m', '16', '-qmp', 'stdio'];
      const device = ['-device', 'virtio-blk-pci,drive=d'];
      const qemu = gluster.start('qemu-system-x86_64', [
        '-name',
        name,
        ...machine,
        '-drive',
        drive,
        ...device,
      ]);
      try {
        qemu.child.stdin?.write('{"execute":"qmp_capabilities"}{"execute":"query-status"}');
        await qemu.says('"prelaunch"');
        const ended = await gluster.start(program, [...options, look]).ended;
        return about(disk, JSON.parse(ended.stdout) as Finding[]);
      } finally {
        await end(qemu);
      }
    };
    assert.deepEqual(await guest('locked', ''), []);
    assert.deepEqual(await guest('unlocked', ',file.locking=off'), ['guest-without-lock']);
  });

  test('with one mount alone nothing can be said of other hosts', async () => {
    const disk = join(gluster.mounts[0], 'alone.img');
    await gluster.start('truncate', ['-s', '1M', disk]).ended;
    assert.equal((await gluster.start('umount', [gluster.mounts[1]]).ended).status, 0);
    const ended = await gluster.start(program, [...options, look, disk]).ended;
    const said = about(disk, JSON.parse(ended.stdout) as Finding[]);
    assert.ok(said.includes('other-hosts-untried') && said.includes('locks-work'), said.join(', '));
  });
});
