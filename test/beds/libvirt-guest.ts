/** Guests for a real libvirt: QEMU under TCG with disks that nothing boots from, so that they start in a second and do nothing. */
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface GuestDisk {
  readonly path: string;
  readonly format?: 'raw' | 'qcow2';
  readonly shareable?: boolean;
  readonly readonly?: boolean;
}

export interface GuestLease {
  /** The lockspace directory is `folder`/`lockspace`. */
  readonly folder: string;
  readonly lockspace: string;
  readonly key: string;
}

export interface Guest {
  readonly name: string;
  readonly disks?: readonly GuestDisk[];
  readonly leases?: readonly GuestLease[];
  /** XML of what else it has. */
  readonly devices?: string;
}

/** `target`: its place on the virtual bus of SCSI, from which a disk can be taken without the guest's help. */
export function diskXml({ path, format = 'raw', shareable, readonly }: GuestDisk, target: string): string {
  // Two guests with one disk: libvirt refuses to migrate or share with a cache of the host's.
  return `<disk type='file' device='disk'>
  <driver name='qemu' type='${format}' cache='none'/>
  <source file='${path}'/>
  <target dev='${target}' bus='scsi'/>
  ${shareable === true ? '<shareable/>' : ''}${readonly === true ? '<readonly/>' : ''}
</disk>
`;
}

export function leaseXml({ folder, lockspace, key }: GuestLease): string {
  return `<lease>
  <lockspace>${lockspace}</lockspace>
  <key>${key}</key>
  <target path='${folder}'/>
</lease>
`;
}

export function guestXml(
  { name, disks = [], leases = [], devices = '' }: Guest,
  uuid: string = randomUUID(),
): string {
  return `<domain type='qemu'>
  <name>${name}</name>
  <uuid>${uuid}</uuid>
  <memory unit='MiB'>20</memory>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <controller type='scsi' model='virtio-scsi'/>
    <memballoon model='none'/>
    ${disks.map((disk, index) => diskXml(disk, `sd${'abcdefgh'[index]}`)).join('')}
    ${leases.map(leaseXml).join('')}
    ${devices}
  </devices>
</domain>
`;
}

/** Writes XML to a file of its own; gives its path. */
export function xmlFile(folder: string, xml: string): string {
  const path = join(folder, `${randomUUID()}.xml`);
  writeFileSync(path, xml);
  return path;
}
