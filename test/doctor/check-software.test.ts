import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkConfiguration } from '../../src/doctor/check-configuration.js';
import {
  checkKernel,
  checkNativeCalls,
  checkNode,
  checkSoftware,
  checkTools,
} from '../../src/doctor/check-software.js';
import { privateFolder } from '../beds/private-folder.js';
import { ids, only, recordedHost } from './recorded-host.js';

const folder = privateFolder();

test('Node has to be 20.19 or later', () => {
  const found = ['18.20.4', '20.18.3', '20.19.0', '20.20.1', '22.0.0', '100.1.0'].map(
    (one) => checkNode(one).id,
  );
  assert.deepEqual(found, [
    'node-too-old',
    'node-too-old',
    'node-supported',
    'node-supported',
    'node-supported',
    'node-supported',
  ]);
});

test('the kernel: no locks before 3.15, no pidfds before 5.3', () => {
  const found = ['2.6.32-754.el6', '3.14.79', '3.15.0', '4.18.0-553.el8', '5.2.9', '5.3.0', '6.1.0-18-amd64'];
  assert.deepEqual(
    found.flatMap((release) => ids(checkKernel(release))),
    [
      'kernel-without-locks',
      'kernel-without-locks',
      'kernel-old',
      'kernel-old',
      'kernel-old',
      'kernel-supported',
      'kernel-supported',
    ],
  );
  assert.deepEqual(checkKernel(undefined), []);
});

test('native calls are really made; a library that does not load is a problem', () => {
  assert.equal(checkNativeCalls().id, 'native-calls-work');
  const broken = checkNativeCalls(() => {
    throw new Error('Cannot find the native Koffi module');
  });
  assert.equal(broken.id, 'native-calls-missing');
  assert.deepEqual(broken.evidence, ['Cannot find the native Koffi module']);
});

test('virsh is missed only where libvirt is configured', () => {
  const bare = recordedHost(folder);
  const libvirt = recordedHost(folder, { etc: { 'libvirt/qemu.conf': '' } });
  assert.deepEqual(ids(checkTools(bare, folder)), ['qemu-img-missing']);
  assert.deepEqual(ids(checkTools(libvirt, folder)), ['qemu-img-missing', 'virsh-missing']);
  for (const name of ['qemu-img', 'virsh']) writeFileSync(join(folder, name), '', { mode: 0o755 });
  assert.deepEqual(ids(checkTools(libvirt, folder)), ['tools-found']);
});

test('the kernel is read from the recorded tree', () => {
  const old = recordedHost(folder, { proc: { 'sys/kernel/osrelease': '3.10.0-1160.el7.x86_64\n' } });
  assert.match(only(checkSoftware(old), 'kernel-without-locks').what, /3\.10\.0-1160/);
});

test('a wrong configuration is a problem at its place', async () => {
  const file = join(folder, 'holdfast.toml');
  writeFileSync(file, 'drivers = ["fcntl"]\n');
  assert.deepEqual(ids(await checkConfiguration(file)), ['configuration-read']);
  writeFileSync(file, '\nwiat = "5s"\n');
  const [found] = await checkConfiguration(file);
  assert.equal(found?.id, 'configuration-wrong');
  assert.match(found.what, /holdfast\.toml:2:1: unknown key wiat/);
  assert.match(found.remedy ?? '', /wait/);
});
