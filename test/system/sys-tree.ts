/** sysfs as it was seen on machines with such devices, made again in a folder. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import type { TestContext } from 'node:test';

export interface SysDevice {
  /** Below /sys/devices: `virtual/block/dm-0`, `pci0/block/sda/sda1`. */
  readonly at: string;
  readonly device: string;
  readonly attributes?: Readonly<Record<string, string>>;
  /** The `at` of other devices. */
  readonly slaves?: readonly string[];
}

/** A folder that stands for /sys. `files` are others below it, by path. */
export function sysTree(
  t: TestContext,
  devices: readonly SysDevice[],
  files: Readonly<Record<string, string>> = {},
): string {
  const sys = mkdtempSync(join(tmpdir(), 'holdfast-sys-'));
  t.after(() => rmSync(sys, { recursive: true }));
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${text}\n`);
  };
  const link = (target: string, path: string): void => {
    mkdirSync(dirname(path), { recursive: true });
    symlinkSync(relative(dirname(path), target), path);
  };
  for (const { at, device, attributes, slaves } of devices) {
    const folder = join(sys, 'devices', at);
    write(join(folder, 'dev'), device);
    for (const [name, value] of Object.entries(attributes ?? {})) write(join(folder, name), value);
    link(folder, join(sys, 'dev/block', device));
    mkdirSync(join(folder, 'slaves'), { recursive: true });
    for (const slave of slaves ?? []) {
      link(join(sys, 'devices', slave), join(folder, 'slaves', slave.split('/').at(-1) ?? ''));
    }
  }
  for (const [path, text] of Object.entries(files)) write(join(sys, path), text);
  return sys;
}

const lv = 'LVM-a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6';

/** A SCSI disk with two partitions, LVM on the second one with a plain and two thin volumes. */
export const lvmOnScsi: readonly SysDevice[] = [
  {
    at: 'pci0/host0/block/sda',
    device: '8:0',
    attributes: { 'device/wwid': 'naa.600508b1001c79ade5178f0626caaa9c' },
  },
  { at: 'pci0/host0/block/sda/sda1', device: '8:1', attributes: { partition: '1', start: '2048' } },
  { at: 'pci0/host0/block/sda/sda2', device: '8:2', attributes: { partition: '2', start: '1050624' } },
  {
    at: 'virtual/block/dm-0',
    device: '253:0',
    attributes: { 'dm/uuid': `${lv}QrStUvWxYzAbCdEfGhIjKlMnOpQrStUv`, 'dm/name': 'vg-root' },
    slaves: ['pci0/host0/block/sda/sda2'],
  },
  {
    at: 'virtual/block/dm-1',
    device: '253:1',
    attributes: { 'dm/uuid': `${lv}PoolPoolPoolPoolPoolPoolPoolPool-tpool` },
    slaves: ['pci0/host0/block/sda/sda2'],
  },
  {
    at: 'virtual/block/dm-2',
    device: '253:2',
    attributes: { 'dm/uuid': `${lv}ThinAThinAThinAThinAThinAThinAaa` },
    slaves: ['virtual/block/dm-1'],
  },
  {
    at: 'virtual/block/dm-3',
    device: '253:3',
    attributes: { 'dm/uuid': `${lv}ThinBThinBThinBThinBThinBThinBbb` },
    slaves: ['virtual/block/dm-1'],
  },
];

/** One SAN disk over two paths, multipath on them, a partition as the kernel and one as kpartx makes it. */
export const multipath: readonly SysDevice[] = [
  {
    at: 'pci0/host1/block/sdb',
    device: '8:16',
    attributes: { 'device/wwid': 'naa.6001405f5e2c3a1b' },
  },
  { at: 'pci0/host1/block/sdb/sdb1', device: '8:17', attributes: { partition: '1', start: '2048' } },
  {
    at: 'pci0/host2/block/sdc',
    device: '8:32',
    attributes: { 'device/wwid': 'naa.6001405f5e2c3a1b' },
  },
  {
    at: 'virtual/block/dm-5',
    device: '253:5',
    attributes: { 'dm/uuid': 'mpath-36001405f5e2c3a1b' },
    slaves: ['pci0/host1/block/sdb', 'pci0/host2/block/sdc'],
  },
  {
    at: 'virtual/block/dm-6',
    device: '253:6',
    attributes: { 'dm/uuid': 'part1-mpath-36001405f5e2c3a1b' },
    slaves: ['virtual/block/dm-5'],
  },
];

/** NVMe, encrypted, a mapping without uuid, Ceph, an odd name, and a loop of slaves that no kernel makes. */
export const others: readonly SysDevice[] = [
  {
    at: 'pci0/nvme/nvme0/nvme0n1',
    device: '259:0',
    attributes: { wwid: 'eui.0025388b710116a1' },
  },
  {
    at: 'pci0/nvme/nvme0/nvme0n1/nvme0n1p1',
    device: '259:1',
    attributes: { partition: '1', start: '2048' },
  },
  {
    at: 'virtual/block/dm-7',
    device: '253:7',
    attributes: { 'dm/uuid': 'CRYPT-LUKS2-4f0e7a3ad9e14f0f9d5c52f6c2a0b8aa-home' },
    slaves: ['pci0/nvme/nvme0/nvme0n1/nvme0n1p1'],
  },
  {
    at: 'virtual/block/dm-8',
    device: '253:8',
    attributes: { 'dm/uuid': '' },
    slaves: ['pci0/nvme/nvme0/nvme0n1'],
  },
  { at: 'virtual/block/dm-9', device: '253:9', attributes: { 'dm/uuid': 'CRYPT-PLAIN-swap' } },
  { at: 'rbd/0/block/rbd0', device: '252:0' },
  { at: 'pci0/cciss0/block/cciss!c0d0', device: '104:0' },
  {
    at: 'pci0/ata1/block/sdd',
    device: '8:48',
    attributes: { 'device/wwid': 't10.ATA     QEMU HARDDISK                           QM00001             ' },
  },
  { at: 'pci0/usb1/block/sde', device: '8:64', attributes: { 'device/wwid': 'naa.0000000000000000' } },
  { at: 'virtual/block/dm-10', device: '253:10', slaves: ['virtual/block/dm-11'] },
  { at: 'virtual/block/dm-11', device: '253:11', slaves: ['virtual/block/dm-10'] },
];

export const rbdFiles: Readonly<Record<string, string>> = {
  'bus/rbd/devices/0/pool': 'vms',
  'bus/rbd/devices/0/pool_ns': '',
  'bus/rbd/devices/0/name': 'web1',
  'bus/rbd/devices/0/current_snap': '-',
  'bus/rbd/devices/0/cluster_fsid': 'C9C21AD9-4A5E-4F3F-9B57-7A1F6F6B3D11',
};
