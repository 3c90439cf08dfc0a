/** Guests of network disks, which are the same on every host without any storage that the hosts share. */
import { randomUUID } from 'node:crypto';

export interface NetworkDisk {
  /** `d0` is the image `chaos/d0`. */
  readonly disk: string;
  readonly mode: 'exclusive' | 'read';
}

export function guestXml(name: string, disks: readonly NetworkDisk[], uuid: string = randomUUID()): string {
  return `<domain type='qemu'>
  <name>${name}</name>
  <uuid>${uuid}</uuid>
  <memory unit='MiB'>20</memory>
  <os><type arch='x86_64'>hvm</type></os>
  <devices>
${disks.map(diskXml).join('')}  </devices>
</domain>
`;
}

function diskXml({ disk, mode }: NetworkDisk, index: number): string {
  return `    <disk type='network' device='disk'>
      <driver name='qemu' type='raw' cache='none'/>
      <source protocol='rbd' name='chaos/${disk}'><host name='ceph' port='6789'/></source>
      <target dev='vd${'abcdefgh'[index]}' bus='virtio'/>${mode === 'read' ? '\n      <readonly/>' : ''}
    </disk>
`;
}
