/** An ordinary user: locks what is his, and is told what he may not see. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, cpSync, lstatSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  commandFolder,
  endLeftProcesses,
  holdfast,
  start,
  type Ended,
  type Running,
} from '../beds/command.js';
import { untilFree } from '../beds/observed-lock.js';
import { domainXml, end, qcow2Disk, rawDisk } from '../beds/qemu.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
chmodSync(folder, 0o755);
const nobody = 65534;
const home = join(folder, 'home');
mkdirSync(home);
chownSync(home, nobody, nobody);
const rootRuntime = process.env['HOLDFAST_RUNTIME_DIR'] ?? '';

/** A copy that every user may read: the checkout may lie in a home. */
function installedCopy(): string {
  const copy = join(folder, 'installed');
  const command = join(copy, 'dist/command');
  cpSync(dirname(holdfast), command, { recursive: true });
  const modules = fileURLToPath(new URL('../../node_modules', import.meta.url));
  for (const name of ['koffi', '@koromix']) {
    cpSync(join(modules, name), join(copy, 'node_modules', name), { recursive: true });
  }
  return join(command, 'holdfast');
}

describe('an ordinary user', { skip: lacks('root', 'setpriv') }, () => {
  const command = installedCopy();
  const environment = {
    HOME: home,
    XDG_CONFIG_HOME: join(home, '.config'),
    XDG_RUNTIME_DIR: '',
    HOLDFAST_RUNTIME_DIR: join(home, 'run'),
    // So that the test finds what it has to end.
    HOLDFAST_TEST: rootRuntime,
  };
  const startAs = (program: string, args: readonly string[], options = {}): Running => {
    const user = ['--reuid', String(nobody), '--regid', String(nobody), '--clear-groups'];
    return start('setpriv', [...user, '--', program, ...args], { env: environment, cwd: home, ...options });
  };
  const call = (...args: readonly string[]): Promise<Ended> => startAs(command, args, { input: '' }).ended;
  const hold = async (disk: string): Promise<Running> => {
    const running = startAs(command, [
      'run',
      '-q',
      '--disk',
      disk,
      '--',
      'sh',
      '-c',
      'echo up; exec sleep 1000',
    ]);
    await running.says('up');
    return running;
  };
  const holdAsRoot = async (disk: string): Promise<Running> => {
    const running = start(holdfast, [
      'run',
      '-q',
      '--disk',
      disk,
      '--',
      'sh',
      '-c',
      'echo up; exec sleep 1000',
    ]);
    await running.says('up');
    return running;
  };
  const own = (path: string): string => {
    chownSync(path, nobody, nobody);
    return path;
  };
  afterEach(endLeftProcesses);

  test('locks a guest of his own: its disks, its base images, the guest itself', async () => {
    const base = own(qcow2Disk(join(home, 'base.qcow2')));
    const disk = own(qcow2Disk(join(home, 'web1.qcow2'), { path: base, format: 'qcow2' }));
    const xml = join(home, 'web1.xml');
    writeFileSync(xml, domainXml('web1', [{ path: disk, format: 'qcow2' }]));
    const first = startAs(command, ['run', '-q', '--xml', xml, '--', 'sh', '-c', 'echo up; exec sleep 1000']);
    await first.says('up');
    const listed = await call('list');
    assert.match(listed.stdout, new RegExp(`^guest "web1" +${first.pid} \\(\\w+\\)`, 'm'));
    const second = await call('run', '--disk', disk, '--', 'true');
    assert.equal(second.status, 75);
    assert.match(
      second.stderr,
      new RegExp(`held by {3}guest "web1" \\(sh, pid ${first.pid}\\) on this host`),
    );
    assert.equal(lstatSync(join(home, 'run')).mode & 0o777, 0o700);
    await end(first);
    await untilFree(disk);
    assert.equal((await call('list')).stdout, 'You hold nothing.\n');
  });

  test("root's hold on a disk that he may write: refused, with what could not be seen", async () => {
    const disk = rawDisk(join(folder, 'for-all.raw'));
    chmodSync(disk, 0o666);
    const first = await holdAsRoot(disk);
    const { status, stdout, stderr } = await call('run', '--disk', disk, '--', 'echo', 'ran');
    assert.deepEqual([status, stdout], [75, '']);
    assert.match(stderr, /^ {2}held by {3}someone who cannot be seen from here on this host$/m);
    assert.match(stderr, /^ {2}try .*look again as root/m);
    assert.doesNotMatch(stderr, /another host/);
    assert.equal((await call('plan', '--disk', disk)).status, 75);
    assert.equal((await call('list')).stdout, 'You hold nothing.\n', "root's holds are root's");
    await end(first);
    assert.equal((await call('run', '-q', '--disk', disk, '--', 'echo', 'ran')).stdout, 'ran\n');
  });

  test('his own hold is seen and named by root', async () => {
    const disk = own(rawDisk(join(home, 'his.raw')));
    const first = await hold(disk);
    const { status, stderr } = await start(holdfast, ['run', '--disk', disk, '--', 'true'], { input: '' })
      .ended;
    assert.equal(status, 75);
    assert.match(stderr, new RegExp(`held by {3}\\w+ \\(pid ${first.pid}, user nobody\\) on this host`));
    await end(first);
  });

  test('a writer of his own without a lock is named', async () => {
    const disk = own(rawDisk(join(home, 'written.raw')));
    const writer = startAs('sh', ['-c', 'exec 3<>"$1"; echo up; exec sleep 1000', 'sh', disk]);
    await writer.says('up');
    const { status, stderr } = await call('run', '--disk', disk, '--', 'true');
    assert.equal(status, 75);
    assert.match(stderr, new RegExp(`\\w+ \\(pid ${writer.pid}, user nobody\\)`));
    assert.match(stderr, /no lock: open for writing/);
    await end(writer);
  });

  test("root's writer without a lock on his disk is noticed, though it cannot be seen who it is", async () => {
    const disk = own(rawDisk(join(home, 'written-by-root.raw')));
    const writer = start('sh', ['-c', 'exec 3<>"$1"; echo up; exec sleep 1000', 'sh', disk]);
    await writer.says('up');
    const { status, stderr } = await call('run', '--disk', disk, '--', 'true');
    assert.equal(status, 75, stderr);
    assert.match(stderr, /open for writing by a program that cannot be seen from here/);
    assert.match(stderr, /look again as root/);
    await end(writer);
  });

  test('a disk that he may only read: a lock to write is not permitted, one to read is', async () => {
    const disk = rawDisk(join(folder, 'readable.raw'));
    const refused = await call('run', '--disk', disk, '--', 'true');
    assert.equal(refused.status, 77, refused.stderr);
    assert.equal((await call('run', '-q', '--disk', `${disk}:read`, '--', 'echo', 'ran')).stdout, 'ran\n');
    const hidden = rawDisk(join(folder, 'hidden.raw'));
    chmodSync(hidden, 0o600);
    assert.equal((await call('run', '--disk', `${hidden}:read`, '--', 'true')).status, 66);
  });

  test("libvirt's setting, which only root may read, is not passed over in silence", async (t) => {
    const file = '/etc/libvirt/qemu.conf';
    const mode = lstatSync(file, { throwIfNoEntry: false })?.mode;
    if (mode === undefined || (mode & 0o004) !== 0) {
      t.skip(`there is no ${file} that only root may read`);
      return;
    }
    const disk = own(rawDisk(join(home, 'noted.raw')));
    assert.match((await call('plan', '--disk', disk)).stdout, /note: libvirt's setting could not be seen/);
  });

  test('a runtime directory of somebody else is refused', async () => {
    const disk = own(rawDisk(join(home, 'any.raw')));
    mkdirSync(join(folder, 'not-his'), { mode: 0o777 });
    chmodSync(join(folder, 'not-his'), 0o777);
    const env = { ...environment, HOLDFAST_RUNTIME_DIR: join(folder, 'not-his') };
    const args = ['run', '--disk', disk, '--lease', 'a:b', '--', 'true'];
    const { status, stderr } = await startAs(command, args, { input: '', env }).ended;
    assert.equal(status, 77, stderr);
    assert.match(stderr, /not-his.* cannot be used for locks/);
  });
});
