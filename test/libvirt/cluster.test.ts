/**
 * Two hosts with a libvirt each, unmodified, and holdfastd on one etcd: a guest runs once in the cluster, and migrates while a
 * third host tries to take its disk all the time.
 */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execPath } from 'node:process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { commandFolder, type Running } from '../beds/command.js';
import { startGlusterFs, type GlusterFs } from '../beds/glusterfs.js';
import { diskXml, guestXml, xmlFile } from '../beds/libvirt-guest.js';
import { joinNetworks, LibvirtSystem } from '../beds/libvirt-system.js';
import { rawDisk } from '../beds/qemu.js';
import { until } from '../beds/until.js';
import { lacks } from '../needs.js';

const folder = commandFolder();
const needed = lacks('root', 'unshare', 'libvirtd', 'virsh', 'qemu', 'glusterfs', 'etcd');
const addresses = ['10.77.1.1', '10.77.1.2'] as const;
const endpoint = `http://${addresses[0]}:2379`;
const thiefProgram = fileURLToPath(new URL('../beds/cluster-thief.ts', import.meta.url));

describe('libvirt in a cluster', { skip: needed }, () => {
  let gluster: GlusterFs;
  let one: LibvirtSystem;
  let two: LibvirtSystem;
  let etcd: Running;
  const shared = join(folder, 'shared');
  const configuration = join(folder, 'holdfast.toml');
  before(async () => {
    writeFileSync(configuration, `[driver.etcd]\nendpoints = ["${endpoint}"]\n`, { mode: 0o600 });
    mkdirSync(shared, { recursive: true });
    gluster = await startGlusterFs(folder);
    one = await startHost('hosta', 0);
    two = await startHost('hostb', 1);
    await joinNetworks(one, two, addresses);
    const peer = 'http://127.0.0.1:2380';
    etcd = one.start('etcd', [
      ...['--data-dir', join(folder, 'etcd'), '--listen-client-urls', endpoint],
      ...['--advertise-client-urls', endpoint, '--listen-peer-urls', peer],
      ...['--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
    ]);
    await until(
      () => etcd.stderr.includes('ready to serve client requests'),
      () => `etcd: ${etcd.stderr}`,
    );
  });
  after(async () => {
    await one?.stop();
    await two?.stop();
    await gluster?.stop();
  });

  function startHost(name: string, index: 0 | 1): Promise<LibvirtSystem> {
    return LibvirtSystem.start(folder, {
      name,
      locks: 'holdfastd',
      holdfastd: ['--config', configuration, '--driver', 'etcd,fcntl'],
      address: addresses[index],
      bind: { folder: gluster.mounts[index], at: shared },
      startIn: (program, args) => gluster.start(program, args),
    });
  }

  function sharedDisk(name: string): string {
    const path = join(shared, name);
    rawDisk(one.outside(path));
    return path;
  }

  /** A third host, with the files and the network of the first. */
  function startThief(disk: string): Running {
    const id = join(folder, 'third-machine-id');
    writeFileSync(id, `${'3'.repeat(32)}\n`);
    const program = [execPath, '--import', import.meta.resolve('tsx'), thiefProgram, configuration, disk];
    const script = 'hostname hostc && mount --bind "$1" /etc/machine-id && shift && exec "$@"';
    return one.start('unshare', ['-m', '-u', 'sh', '-c', script, 'sh', id, ...program], {
      env: { HOLDFAST_RUNTIME_DIR: join(folder, 'third') },
    });
  }

  test('a guest runs on one host, and its disk is one guest’s', async () => {
    const [a, b, c] = [sharedDisk('a.img'), sharedDisk('b.img'), sharedDisk('c.img')];
    const web1 = guestXml({ name: 'web1', disks: [{ path: a }] });
    await one.virsh('create', xmlFile(folder, web1));
    await two.virsh('create', xmlFile(folder, guestXml({ name: 'web2', disks: [{ path: b }] })));
    const attached = await two.tryVirsh(
      'attach-device',
      'web2',
      xmlFile(folder, diskXml({ path: a }, 'sdb')),
    );
    assert.equal(attached.ok, false);
    assert.match(attached.text, /is locked by .*guest "web1".* on hosta/);
    // The same guest with another disk: only the cluster knows that it runs already.
    const again = await two.tryVirsh('create', xmlFile(folder, web1.replaceAll(a, c)));
    assert.equal(again.ok, false);
    assert.match(again.text, /is locked by guest "web1".* on hosta/);
    await two.virsh('destroy', 'web2');
    await one.virsh('destroy', 'web1');
  });

  test('a guest migrates forth and back, its daemons killed in between, and a third host never gets its disk', async (t) => {
    const disk = sharedDisk('m.img');
    const hosts = [one, two] as const;
    await one.virsh('create', xmlFile(folder, guestXml({ name: 'web1', disks: [{ path: disk }] })));
    const thief = startThief(disk);
    await until(
      () => thief.stdout.includes('trying'),
      () => `the third host: ${thief.stderr}`,
    );
    for (const [from, to] of [
      [0, 1],
      [1, 0],
      [0, 1],
    ] as const) {
      const uris = [`qemu+tcp://${addresses[to]}/system`, `tcp://${addresses[to]}`];
      await hosts[from].virsh('migrate', '--live', 'web1', ...uris, '--unsafe');
      assert.equal((await hosts[to].virsh('domstate', 'web1')).trim(), 'running');
      await hosts[to].killLockWorker();
    }
    thief.child.stdin?.end();
    const { status, stdout, stderr } = await thief.ended;
    assert.equal(status, 0, stderr);
    const said = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as { tries: number; got: number };
    t.diagnostic(JSON.stringify(said));
    assert.equal(said.got, 0);
    assert.ok(said.tries > 10);
    await two.virsh('destroy', 'web1');
  });
});
