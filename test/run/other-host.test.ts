/**
 * Two hosts on one GlusterFS volume: who is refused learns who holds it on the other one.
 *
 * Each host is a program in name spaces of its own (processes, host name, mounts), with a machine-id, a boot id and a runtime
 * directory of its own, and reaches the volume by a mount of its own.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { commandFolder, holdfast, type Ended, type Running } from '../beds/command.js';
import { firstChild, startGlusterFs, type GlusterFs } from '../beds/glusterfs.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
/** By its place: what enters name spaces begins in their root folder. */
const tsx = import.meta.resolve('tsx');

interface HolderData {
  readonly guest?: string;
  readonly name?: string;
  readonly host?: string;
  readonly pid?: number;
  readonly since?: string;
  readonly mode?: string;
  readonly through: readonly string[];
}

/** `$1` the host's name, `$2` its machine-id, `$3` a file with its boot id; then the command. */
const asHost = `
set -e
hostname "$1"
mount -t tmpfs tmpfs /run
printf '%s\\n' "$2" >/run/machine-id
mount --bind /run/machine-id /etc/machine-id
printf '%s\\n' "$3" >/run/boot-id
mount --bind /run/boot-id /proc/sys/kernel/random/boot_id
shift 3
exec "$@"
`;

interface Host {
  readonly name: string;
  readonly machineId: string;
  readonly bootId: string;
}

const hostA: Host = {
  name: 'host-a',
  machineId: 'a'.repeat(32),
  bootId: 'aaaaaaaa-0000-4000-8000-000000000001',
};
const hostB: Host = {
  name: 'host-b',
  machineId: 'b'.repeat(32),
  bootId: 'bbbbbbbb-0000-4000-8000-000000000002',
};

describe('held from another host', { skip: lacks('root', 'unshare', 'glusterfs') }, () => {
  let gluster: GlusterFs;
  let script: string;
  let paths: readonly [string, string];
  let xml: string;
  before(async () => {
    gluster = await startGlusterFs(folder);
    paths = [join(gluster.mounts[0], "a guest's disk.raw"), join(gluster.mounts[1], "a guest's disk.raw")];
    await gluster.start('truncate', ['-s', '1M', paths[0]]).ended;
    script = join(folder, 'as-host');
    writeFileSync(script, asHost);
    xml = join(folder, 'web1.xml');
    writeFileSync(
      xml,
      `<domain type='qemu'><name>web1</name><uuid>6c1f2a30-1111-4222-8333-444455556666</uuid><devices>
        <disk type='file' device='disk'><driver type='raw'/><source file="${paths[0]}"/><target dev='vda'/></disk>
      </devices></domain>`,
    );
  });
  const holding: Running[] = [];
  afterEach(async () => {
    for (const running of holding.splice(0)) await letGo(running);
  });
  after(() => gluster?.stop());

  const on = (
    { name, machineId, bootId }: Host,
    program: string,
    args: readonly string[],
    input?: string,
  ): Running =>
    gluster.start(
      'unshare',
      [
        '-m',
        '-u',
        '-p',
        '--fork',
        '--kill-child',
        '--mount-proc',
        'sh',
        script,
        name,
        machineId,
        bootId,
        program,
        ...args,
      ],
      {
        env: { HOLDFAST_RUNTIME_DIR: '/run/holdfast', HOLDFAST_TEST: process.env['HOLDFAST_RUNTIME_DIR'] },
        ...(input === undefined ? {} : { input }),
      },
    );
  const call = (host: Host, args: readonly string[]): Promise<Ended> => on(host, holdfast, args, '').ended;
  const waiting = ['sh', '-c', 'echo holding; read x'];
  const holdOn = async (host: Host, ...args: string[]): Promise<Running> => {
    const running = on(host, holdfast, ['run', '-q', ...args, '--', ...waiting]);
    holding.push(running);
    await running.says('holding');
    return running;
  };
  const letGo = async (running: Running): Promise<void> => {
    running.child.stdin?.end('\n');
    await running.ended;
  };
  const attributes = async (path: string): Promise<string[]> => {
    const code = `
      import { openSync } from 'node:fs';
      import { attributeNames } from ${JSON.stringify(new URL('../../src/system/xattr.ts', import.meta.url).href)};
      console.log(JSON.stringify(attributeNames(openSync(process.argv[1], 'r'))));`;
    const args = ['--import', tsx, '--input-type=module', '-e', code, path];
    const { status, stdout, stderr } = await gluster.start(process.execPath, args).ended;
    assert.equal(status, 0, stderr);
    return (JSON.parse(stdout) as string[]).filter((name) => name.startsWith('user.holdfast.'));
  };
  const planned = async (host: Host, disk: string): Promise<readonly HolderData[]> => {
    const { stdout } = await call(host, ['plan', '--json', '--disk', disk]);
    const { states } = JSON.parse(stdout) as { states: readonly { holders: readonly HolderData[] }[] };
    return states.flatMap(({ holders }) => holders);
  };

  test('a refusal of run names the guest, its host, since when, and where to look', async () => {
    const running = await holdOn(hostA, '--xml', xml);
    const { status, stderr } = await call(hostB, ['run', '--disk', paths[1], '--', 'true']);
    assert.equal(status, 75, stderr);
    assert.match(stderr, /^ {2}held by {3}guest "web1" \(pid \d+\) on host-a since \d/m);
    assert.match(stderr, /^ {2}through {3}Holdfast \(fcntl\), held from another host$/m);
    const quoted = `'${paths[0].replaceAll("'", "'\\''")}'`;
    assert.ok(stderr.includes(`on host-a: holdfast who ${quoted}, or wait for it`), stderr);
    await letGo(running);
  });

  test('plan and the error of the library have the same holder', async () => {
    const running = await holdOn(hostA, '--xml', xml);
    const library = `
      import { lockDisks } from ${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)};
      await lockDisks([process.argv[1]], { configuration: false }).catch((error) => console.log(JSON.stringify(error.holders)));`;
    const args = ['--import', tsx, '--input-type=module', '-e', library, paths[1]];
    const { stdout, stderr } = await on(hostB, process.execPath, args, '').ended;
    assert.notEqual(stdout, '', stderr);
    for (const holders of [JSON.parse(stdout) as readonly HolderData[], await planned(hostB, paths[1])]) {
      assert.equal(holders.length, 1);
      const [holder] = holders;
      assert.deepEqual([holder?.guest, holder?.host, holder?.mode], ['web1', 'host-a', 'exclusive']);
      assert.match(holder?.since ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      assert.ok(holder?.pid !== undefined);
    }
    await letGo(running);
  });

  test('who names it too, and says with 0 that it is in use', async () => {
    const running = await holdOn(hostA, '--xml', xml);
    const { status, stdout, stderr } = await call(hostB, ['who', '--json', paths[1]]);
    assert.equal(status, 0, stderr);
    for (const part of ['"guest":"web1"', '"host":"host-a"', 'held from another host']) {
      assert.ok(stdout.replaceAll('": ', '":').includes(part), stdout);
    }
    await letGo(running);
  });

  test('a killed holder is not named for the next one, whose lock leaves no record', async () => {
    const killed = await holdOn(hostA, '--disk', paths[0], '--name', 'the one that died');
    // nsenter's child is unshare, with which the host ends.
    process.kill(firstChild(killed.pid), 'SIGKILL');
    await killed.exited;
    await until(
      async () => (await planned(hostB, paths[1])).length === 0,
      'the lock of the killed one to be gone',
    );
    assert.equal((await attributes(paths[1])).length, 1, 'it left its record');
    const lock = `
      import { openSync } from 'node:fs';
      import { tryLock } from ${JSON.stringify(new URL('../../src/system/ofd-lock.ts', import.meta.url).href)};
      console.log(tryLock(openSync(process.argv[1], 'r+'), 'write', 0));
      process.stdin.resume();`;
    const virtlockd = on(hostA, process.execPath, [
      '--import',
      tsx,
      '--input-type=module',
      '-e',
      lock,
      paths[0],
    ]);
    await virtlockd.says('true');
    const [holder, ...more] = await planned(hostB, paths[1]);
    assert.deepEqual([holder?.name, holder?.host, more], [undefined, 'another host', []]);
    assert.deepEqual(holder?.through, ['virtlockd or Holdfast, held from another host']);
    virtlockd.child.stdin?.end();
    await virtlockd.ended;
    assert.equal(
      (await call(hostB, ['run', '-q', '--supervise', '--disk', paths[1], '--', 'true'])).status,
      0,
    );
    await until(async () => (await attributes(paths[1])).length === 0, 'both records to be gone');
  });

  test('readers on both hosts, and a writer is told of both', async () => {
    const [one, two] = [
      await holdOn(hostA, '--disk', `${paths[0]}:read`, '--name', 'backup-a'),
      await holdOn(hostB, '--disk', `${paths[1]}:read`, '--name', 'backup-b'),
    ];
    assert.equal((await attributes(paths[0])).length, 2);
    const hostC: Host = {
      name: 'host-c',
      machineId: 'c'.repeat(32),
      bootId: 'cccccccc-0000-4000-8000-000000000003',
    };
    const holders = await planned(hostC, paths[0]);
    assert.deepEqual(
      new Set(holders.map(({ name, host }) => `${name} on ${host}`)),
      new Set(['backup-a on host-a', 'backup-b on host-b']),
    );
    await letGo(one);
    await letGo(two);
  });

  test('a copy of this host is not taken for this host, nor a container for another', async () => {
    const copy: Host = { ...hostB, name: 'host-b-copy', bootId: 'dddddddd-0000-4000-8000-000000000004' };
    const running = await holdOn(copy, '--disk', paths[0]);
    const { stderr } = await call(hostB, ['run', '--json', '--disk', paths[1], '--', 'true']);
    assert.match(stderr, /"host":"host-b-copy"/);
    assert.match(stderr, /has the machine-id of this host/);
    await letGo(running);

    const container: Host = { ...hostB, name: 'container', machineId: 'e'.repeat(32) };
    const inside = await holdOn(container, '--disk', paths[0], '--name', 'inside');
    const [holder] = await planned(hostB, paths[1]);
    assert.deepEqual([holder?.name, holder?.host], ['inside', 'this host']);
    await letGo(inside);
  });
});
