/** One guest, and one network disk, on two hosts that share nothing but etcd. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { commandFolder, type Running } from '../beds/command.js';
import type { ChaosHost } from './chaos-host.js';
import { Cluster, lacksCluster } from './cluster.js';
import { guestXml } from './guest-xml.js';

const folder = commandFolder();
const conflict = 75;

/** `source`: the element in a `<disk>` of XML. */
function guestWith(name: string, source: string): string {
  const protocolDisk = `<disk type='network' device='disk'><driver name='qemu' type='raw' cache='none'/>${source}<target dev='vda' bus='virtio'/></disk>`;
  return guestXml(name, []).replace('<devices>', `<devices>${protocolDisk}`);
}

const rbd = (monitor: string, image = 'pool/image'): string =>
  `<source protocol='rbd' name='${image}'><host name='${monitor}' port='6789'/></source>`;
const nbd = (port: string, name = 'export'): string =>
  `<source protocol='nbd' name='${name}'><host name='storage' ${port}/></source>`;
const iscsi = (name: string): string =>
  `<source protocol='iscsi' name='${name}'><host name='target' port='3260'/></source>`;

describe('guests on two hosts', { skip: lacksCluster() }, () => {
  let cluster: Cluster;
  before(async () => {
    cluster = await Cluster.start({ folder, members: 1, hosts: 2, ttlSeconds: 5 });
  });
  after(() => cluster?.stop());

  let files = 0;
  const run = (host: ChaosHost, xml: string, ...command: readonly string[]): Running => {
    const file = join(folder, `${++files}.xml`);
    writeFileSync(file, xml);
    return host.holdfast('run', '--xml', file, '--', ...command);
  };

  /** Whether the second host is refused what the first one runs. Gives what it is told. */
  async function refused(first: string, second: string): Promise<string | undefined> {
    const [one, other] = [cluster.host(0), cluster.host(1)];
    const running = run(one, first, 'sh', '-c', 'echo started; exec sleep 60');
    await running.says('started');
    const { status, stderr } = await run(other, second, 'true').ended;
    running.child.kill('SIGTERM');
    await running.exited;
    assert.ok(status === conflict || status === 0, `${status}: ${stderr}`);
    // What was given back can be had.
    assert.equal(await run(other, second, 'true').exited, 0);
    return status === conflict ? stderr : undefined;
  }

  test('the same guest is refused on the second host, and who has it is said', async () => {
    const xml = guestXml('web1', [{ disk: 'a', mode: 'exclusive' }]);
    const told = await refused(xml, xml);
    assert.match(told ?? '', /guest "web1" .*h1/);
  });

  test('a guest without any disk cannot run twice', async () => {
    const xml = guestXml('diskless', []);
    assert.match((await refused(xml, xml)) ?? '', /diskless/);
    assert.equal(
      await refused(xml, guestXml('diskless', [])),
      undefined,
      'another guest of that name may run',
    );
  });

  test('an image of Ceph is one, whichever monitor leads to it', async () => {
    const first = guestWith('one', rbd('mon1'));
    assert.notEqual(await refused(first, guestWith('two', rbd('mon2'))), undefined);
    assert.equal(await refused(first, guestWith('two', rbd('mon1', 'pool/other'))), undefined);
  });

  test('an export of a network block device is one, and another export another', async () => {
    const first = guestWith('one', nbd("port='10809'"));
    assert.notEqual(await refused(first, guestWith('two', nbd(''))), undefined);
    assert.equal(await refused(first, guestWith('two', nbd('', 'second'))), undefined);
  });

  test('a unit of iSCSI is one', async () => {
    const first = guestWith('one', iscsi('iqn.2026-01.org.example:disks/1'));
    assert.notEqual(
      await refused(first, guestWith('two', iscsi('iqn.2026-01.org.EXAMPLE:disks/1'))),
      undefined,
    );
    assert.equal(await refused(first, guestWith('two', iscsi('iqn.2026-01.org.example:disks/2'))), undefined);
  });

  test('guests that only read a disk run on both', async () => {
    const reading = (name: string): string => guestXml(name, [{ disk: 'base', mode: 'read' }]);
    assert.equal(await refused(reading('one'), reading('two')), undefined);
    const writing = guestXml('three', [{ disk: 'base', mode: 'exclusive' }]);
    assert.notEqual(await refused(reading('one'), writing), undefined);
  });
});
