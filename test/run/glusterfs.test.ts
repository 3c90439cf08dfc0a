/** A shared file system, mounted twice: what is held through one mount is refused through the other. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { commandFolder, holdfast, type Ended, type Running } from '../beds/command.js';
import { startGlusterFs, type GlusterFs } from '../beds/glusterfs.js';
import { lacks } from '../needs.js';

const folder = commandFolder();

interface PlanData {
  readonly granted: boolean;
  readonly requests: readonly { readonly resource: { readonly identity: string; readonly scope: string } }[];
}

describe('GlusterFS mounted twice', { skip: lacks('root', 'unshare', 'glusterfs') }, () => {
  let gluster: GlusterFs;
  let paths: readonly [string, string];
  before(async () => {
    gluster = await startGlusterFs(folder);
    paths = [join(gluster.mounts[0], 'disk.raw'), join(gluster.mounts[1], 'disk.raw')];
    // Many, because half of all inode numbers there are above 2^63.
    const names = Array.from({ length: 8 }, (_, index) => join(gluster.mounts[0], `disk${index}`));
    await gluster.start('truncate', ['-s', '1M', paths[0], ...names]).ended;
  });
  after(() => gluster?.stop());

  /** Another runtime directory stands for another host: no record tells of the holder there. */
  const otherHost = { HOLDFAST_RUNTIME_DIR: join(folder, 'run-of-other-host') };
  const call = (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> =>
    gluster.start(holdfast, args, { env, input: '' }).ended;
  const hold = async (disk: string, env: NodeJS.ProcessEnv = {}): Promise<Running> => {
    const running = gluster.start(
      holdfast,
      ['run', '-q', '--disk', disk, '--', 'sh', '-c', 'echo pid $$; read x'],
      { env },
    );
    await running.says('pid ');
    return running;
  };
  const letGo = async (running: Running): Promise<void> => {
    running.child.stdin?.end('\n');
    await running.ended;
  };
  const planOf = async (disk: string): Promise<PlanData> =>
    JSON.parse((await call(['plan', '--json', '--disk', disk])).stdout) as PlanData;

  test('one identity through both mounts, made of the export and the inode', async () => {
    for (const name of ['disk.raw', ...Array.from({ length: 8 }, (_, index) => `disk${index}`)]) {
      const [one, two] = await Promise.all(gluster.mounts.map((mount) => planOf(join(mount, name))));
      const { identity, scope } = one?.requests[0]?.resource ?? {};
      assert.equal(identity, two?.requests[0]?.resource.identity);
      assert.match(identity ?? '', /^fs:glusterfs:10\.77\.99\.1:\/?v1:\d+$/);
      assert.equal(scope, 'cluster');
      const { stdout } = await gluster.start('stat', ['-c', '%i', join(gluster.mounts[0], name)]).ended;
      assert.equal(identity?.split(':').at(-1), stdout.trim(), 'the inode, as stat(1) prints it');
    }
  });

  for (const [asked, mode, both] of [
    ['exclusive', 'exclusive', false],
    ['exclusive', 'shared', false],
    ['shared', 'shared', true],
    ['shared', 'read', false],
    ['read', 'read', true],
    ['read', 'exclusive', false],
  ] as const) {
    test(`held ${mode} through one, ${both ? 'granted' : 'refused'} ${asked} through the other`, async () => {
      const running = await hold(`${paths[0]}:${mode}`);
      const { status, stdout } = await call(
        ['run', '-q', '--disk', `${paths[1]}:${asked}`, '--', 'echo', 'ran'],
        otherHost,
      );
      assert.deepEqual([status, stdout], both ? [0, 'ran\n'] : [75, '']);
      await letGo(running);
      assert.equal(
        (await call(['run', '-q', '--disk', `${paths[1]}:${asked}`, '--', 'echo', 'ran'])).stdout,
        'ran\n',
      );
    });
  }

  test('a holder on the same host is named through either mount', async () => {
    const running = await hold(paths[0]);
    const pid = /pid (\d+)/.exec(running.stdout)?.[1];
    for (const [path, env] of [
      [paths[0], {}],
      [paths[1], {}],
      [paths[1], otherHost],
    ] as const) {
      const { status, stderr } = await call(['run', '--disk', path, '--', 'true'], env);
      assert.equal(status, 75);
      assert.ok(stderr.includes(`${path} is in use`), stderr);
      assert.match(stderr, new RegExp(`held by .*\\(pid ${pid}[,)]`));
    }
    assert.equal((await planOf(paths[1])).granted, false);
    await letGo(running);
    assert.equal((await planOf(paths[1])).granted, true);
  });

  test('a holder in a container that cannot be seen from here says itself that it is on this host', async () => {
    const running = await hold(paths[0], otherHost);
    const look = ['-m', '-p', '--fork', '--mount-proc', holdfast, 'run', '--disk', paths[1], '--', 'true'];
    const { status, stderr } = await gluster.start('unshare', look).ended;
    assert.equal(status, 75, stderr);
    assert.match(stderr, /^ {2}held by .* on this host since/m);
    assert.match(stderr, /^ {2}try .*in the containers of this host, or wait for it/m);
    await letGo(running);
  });

  test('nothing of the machine was touched', () => {
    assert.doesNotMatch(readFileSync('/proc/self/mountinfo', 'utf8'), new RegExp(`${folder}.*glusterfs`));
  });
});
