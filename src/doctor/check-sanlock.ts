/**
 * sanlock, where libvirt or Holdfast is set to it. The daemon is not asked, because that would need its command: it has the file of
 * each lockspace open that it has joined.
 */
import { readFileSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import { isHoldfastError } from '../errors.js';
import { readConfiguration } from '../manager/configuration.js';
import { listeningSockets } from '../system/kernel-settings.js';
import { libvirtNumber, libvirtSetting } from '../system/libvirt-config.js';
import type { ProcessInfo } from '../system/process.js';
import { openRegularFiles } from '../system/process-files.js';
import { finding, type Finding } from './finding.js';
import type { Host } from './host.js';

/** As libvirt's plugin calls its lockspace, and the file of that. */
const diskLockspace = '__LIBVIRT__DISKS__';

/** @param file instead of the usual configuration. */
export async function checkSanlock(host: Host, file?: string): Promise<Finding[]> {
  return sanlockFindings(host, await driversOf(file));
}

/** A wrong configuration is another check's. */
async function driversOf(file: string | undefined): Promise<readonly string[]> {
  try {
    return (await readConfiguration(file === undefined ? {} : { file })).drivers ?? [];
  } catch (error) {
    if (isHoldfastError(error, 'CONFIG')) return [];
    throw error;
  }
}

/** `drivers`: those of Holdfast's configuration. */
export function sanlockFindings(host: Host, drivers: readonly string[]): Finding[] {
  const own = drivers.includes('sanlock');
  const directories = host.libvirt.flatMap((one) => (one.lockManager === 'sanlock' ? [one.directory] : []));
  if (!own && directories.length === 0) return [];
  const daemon = host.processes.find(isDaemon);
  return [
    ...directories.map((directory) => judgeDrivers(directory, own)),
    ...judgeDaemon(daemon, host),
    ...directories.flatMap((directory) => judgeSettings(directory, daemon, host)),
  ];
}

function judgeDrivers(directory: string, own: boolean): Finding {
  const subject = join(directory, 'qemu.conf');
  const evidence = ['lock_manager: sanlock'];
  if (own) {
    const what = 'libvirt locks through sanlock, and so does Holdfast';
    return finding('libvirt-locks-sanlock', { subject, what, evidence });
  }
  return finding('libvirt-other-manager', {
    subject,
    what: "libvirt's lock manager is sanlock, which the drivers of Holdfast's configuration do not meet",
    remedy:
      'Set drivers = ["sanlock", "fcntl"] in the configuration, or use --qemu-lock=hold for commands that are not QEMU.',
    evidence,
  });
}

/** It is two processes: one helps the other, and has no files open. */
function isDaemon({ exe, argv, comm }: ProcessInfo): boolean {
  return (exe ?? basename(argv[0] ?? comm)) === 'sanlock' && argv[1] === 'daemon';
}

function judgeDaemon(daemon: ProcessInfo | undefined, host: Host): Finding[] {
  const socket = listeningSockets(host.roots.proc).find((path) =>
    /^(\/var)?\/run\/sanlock\/sanlock\.sock$/.test(path),
  );
  const evidence = [
    ...(socket === undefined ? [] : [`somebody listens on ${socket}`]),
    ...(daemon === undefined ? [] : [`sanlock has pid ${daemon.pid}`]),
  ];
  if (evidence.length > 0) return [finding('sanlock-running', { what: 'sanlock runs', evidence })];
  const seen = ['nobody listens on /run/sanlock/sanlock.sock', 'there is no process sanlock'];
  return [finding('sanlock-not-running', { what: 'sanlock does not run', evidence: seen })];
}

function judgeSettings(directory: string, daemon: ProcessInfo | undefined, host: Host): Finding[] {
  const subject = join(directory, 'qemu-sanlock.conf');
  const text = textOf(subject);
  // It cannot be read: the settings of libvirt that are not seen are told by another check.
  if (text === undefined) return [];
  if (libvirtNumber(text, 'auto_disk_leases') !== 1) {
    const what = 'libvirt locks no disks through sanlock, only leases';
    return [finding('sanlock-disks-unlocked', { subject, what, evidence: ['auto_disk_leases is not 1'] })];
  }
  if ((libvirtNumber(text, 'host_id') ?? 0) < 1) {
    const what = 'auto_disk_leases is 1, and host_id is not set';
    return [finding('sanlock-host-id-missing', { subject, what })];
  }
  const folder = libvirtSetting(text, 'disk_lease_dir') ?? '/var/lib/libvirt/sanlock';
  const file = join(folder, diskLockspace);
  if (daemon === undefined || !host.isRoot || hasOpen(daemon, file, host)) return [];
  const what = `sanlock has not joined the lockspace ${diskLockspace}`;
  const evidence = [`sanlock (pid ${daemon.pid}) does not have ${file} open`];
  return [finding('sanlock-lockspace-missing', { subject, what, evidence })];
}

function hasOpen({ pid }: ProcessInfo, file: string, host: Host): boolean {
  const names = [file, realPathOf(file)];
  return openRegularFiles(pid, host.roots.proc).some(({ name }) => names.includes(name));
}

/** As the kernel names an open file; undefined: there is none. */
function realPathOf(path: string): string | undefined {
  try {
    return realpathSync.native(path);
  } catch {
    return undefined;
  }
}

/** Empty: there is no such file, and libvirt's defaults hold. */
function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    return ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '') ? '' : undefined;
  }
}
