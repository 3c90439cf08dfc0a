import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kernelHolder } from '../../src/holders/kernel-holder.js';
import type { KernelUse } from '../../src/system/kernel-uses.js';

function use(kind: KernelUse['kind'], where: string, more: Partial<KernelUse> = {}): KernelUse {
  return { kind, where, above: [], evidence: `${kind} ${where}`, ...more };
}

function dm(name: string, uuid: string): KernelUse {
  return use('stacked', '/dev/dm-0', { dm: { name, uuid } });
}

test('each use, in words, and how to end it', () => {
  const cases: [use: KernelUse, words: string, remedy: string][] = [
    [use('mount', '/mnt'), 'mounted on /mnt', 'umount /mnt'],
    [use('mount', "/a b's"), "mounted on /a b's", `umount '/a b'\\''s'`],
    [use('mount', '/mnt', { on: '/dev/sda1' }), '/dev/sda1 mounted on /mnt', 'umount /mnt'],
    [
      use('mount', '/mnt', { namespacePid: 77 }),
      'mounted on /mnt in the mount namespace of process 77',
      'nsenter -t 77 -m umount /mnt',
    ],
    [use('swap', '/swapfile'), 'swap space (/swapfile)', 'swapoff /swapfile'],
    [use('loop', '/dev/loop0'), 'loop device /dev/loop0', 'losetup -d /dev/loop0'],
    [use('stacked', '/dev/md0'), 'part of /dev/md0', 'mdadm --stop /dev/md0'],
    [use('stacked', '/dev/bcache0'), 'part of /dev/bcache0', 'stop /dev/bcache0'],
    [
      dm('vg-root', 'LVM-abc'),
      'physical volume of the LVM volume vg/root (/dev/dm-0)',
      'lvchange -an /dev/mapper/vg-root',
    ],
    [
      dm('my--vg-a--b', 'LVM-abc'),
      'physical volume of the LVM volume my-vg/a-b (/dev/dm-0)',
      'lvchange -an /dev/mapper/my--vg-a--b',
    ],
    [dm('c', 'CRYPT-LUKS2-x'), 'encrypted storage of c (/dev/dm-0)', 'cryptsetup close c'],
    [
      dm('mpatha', 'mpath-x'),
      'a path of the multipath disk mpatha (/dev/dm-0)',
      'use /dev/mapper/mpatha in its place',
    ],
    [dm('d', ''), 'part of d (/dev/dm-0)', 'dmsetup remove d'],
  ];
  for (const [each, words, remedy] of cases) {
    assert.deepEqual(kernelHolder(each), {
      program: 'the kernel',
      host: 'this host',
      through: [words],
      evidence: [each.evidence],
      refuses: ['exclusive', 'shared'],
      remedy,
    });
  }
});

test('what stands on top ends first; of many uses some are named', () => {
  const mounted = use('loop', '/dev/loop0', { above: [use('mount', '/mnt')] });
  assert.equal(kernelHolder(mounted).remedy, 'umount /mnt, then losetup -d /dev/loop0');
  const many = use('loop', '/dev/loop0', {
    above: Array.from({ length: 20 }, (_, index) => use('mount', `/mnt/${index}`)),
  });
  const { through, evidence } = kernelHolder(many);
  assert.equal(through.length, 9);
  assert.equal(through.at(-1), '13 more uses');
  assert.equal(evidence.length, 21);
});

test('nobody is told to end what the host itself runs from', () => {
  const own = (where: string): string => `leave it alone: this host itself runs from it (${where})`;
  for (const where of ['/', '/boot/efi', '/usr', '/var', '/home', '/etc/hosts'])
    assert.equal(kernelHolder(use('mount', where)).remedy, own(where), where);
  const volume = dm('vg-root', 'LVM-abc');
  const root = { ...volume, above: [use('mount', '/srv/a'), use('mount', '/')] };
  assert.equal(kernelHolder(root).remedy, own('/'));
  for (const where of ['/var/lib/libvirt/images', '/srv', '/mnt/usr', '/home/user/mnt'])
    assert.equal(kernelHolder(use('mount', where)).remedy, `umount ${where}`);
  assert.equal(
    kernelHolder(use('mount', '/', { namespacePid: 77 })).remedy,
    'end what runs in the mount namespace of process 77',
  );
});

test('a read-only loop device, and what is mounted from it, is only shown', () => {
  const { through, refuses } = kernelHolder(
    use('loop', '/dev/loop0', { readOnly: true, above: [use('mount', '/mnt')] }),
  );
  assert.deepEqual(through, ['loop device /dev/loop0 (read-only)', 'mounted on /mnt']);
  assert.deepEqual(refuses, []);
});
