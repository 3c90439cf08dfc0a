/** Real QEMUs under TCG whose guest never runs, and disks for them. */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import { start, type Running } from './command.js';

const program = 'qemu-system-x86_64';

/**
 * Returns when a QEMU has opened its disks and is up: it greets before that, but answers only then. Throws with what it
 * says if it ends instead.
 */
export async function untilUp(qemu: Running): Promise<void> {
  qemu.child.stdin?.write('{"execute":"qmp_capabilities"}{"execute":"query-status"}');
  await qemu.says('"prelaunch"');
}

export interface QemuDrive {
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
  readonly readonly?: boolean;
  /** As `qemu-img -U`: whatever others do is accepted. Only for readers. */
  readonly forceShare?: boolean;
  /** Other writers are accepted. */
  readonly shareRw?: boolean;
}

/** A QEMU's command line. */
export function qemuCommand(name: string, ...drives: readonly QemuDrive[]): [string, ...string[]] {
  return [
    program,
    ...['-name', name, '-display', 'none', '-nodefaults', '-S', '-accel', 'tcg', '-m', '16', '-qmp', 'stdio'],
    ...drives.flatMap(({ path, format, readonly, forceShare, shareRw }, index) => [
      '-drive',
      `file=${path},format=${format},if=none,id=d${index}${on('readonly', readonly)}${on('force-share', forceShare)}`,
      '-device',
      `virtio-blk-pci,drive=d${index}${on('share-rw', shareRw)}`,
    ]),
  ];
}

const on = (option: string, wanted: boolean | undefined): string => (wanted === true ? `,${option}=on` : '');

/** Starts a QEMU without Holdfast; returns when it is up. Throws with what it says if it ends instead. */
export async function startQemu(name: string, ...drives: readonly QemuDrive[]): Promise<Running> {
  const [first, ...args] = qemuCommand(name, ...drives);
  const qemu = start(first, args);
  await untilUp(qemu);
  return qemu;
}

/** Ends a process and waits for its end. */
export async function end(running: Running): Promise<void> {
  running.child.kill('SIGKILL');
  await running.exited;
}

export function rawDisk(path: string): string {
  writeFileSync(path, '');
  truncateSync(path, 1 << 20);
  return path;
}

export function qcow2Disk(path: string, base?: { path: string; format: 'raw' | 'qcow2' }): string {
  const below = base === undefined ? [] : ['-b', base.path, '-F', base.format];
  execFileSync('qemu-img', [
    'create',
    '-q',
    '-f',
    'qcow2',
    ...below,
    path,
    ...(below.length > 0 ? [] : ['1M']),
  ]);
  return path;
}

export interface DomainDisk {
  readonly path: string;
  readonly format?: string;
  /** Inside `<disk>`: `<shareable/>`, `<readonly/>`. */
  readonly more?: string;
}

/** A domain XML as libvirt writes it, with a uuid of its own. */
export function domainXml(name: string, disks: readonly DomainDisk[], uuid: string = randomUUID()): string {
  const devices = disks.map(
    ({ path, format = 'raw', more = '' }, index) => `
    <disk type='file' device='disk'>
      <driver name='qemu' type='${format}'/>
      <source file='${path}'/>
      <target dev='vd${'abcdefgh'[index]}' bus='virtio'/>${more}
    </disk>`,
  );
  return `<domain type='qemu'>
  <name>${name}</name>
  <uuid>${uuid}</uuid>
  <memory unit='MiB'>16</memory>
  <os><type>hvm</type></os>
  <devices>${devices.join('')}
  </devices>
</domain>
`;
}
