/** libvirt's lock manager and its settings, and what they mean together with Holdfast; virtlockd. */
import { existsSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { listeningSockets } from '../system/kernel-settings.js';
import { inodeOf } from '../system/inode.js';
import { mountOf } from '../system/mounts.js';
import { fileSystemOf } from '../plan/file-systems.js';
import type { ProcessInfo } from '../system/process.js';
import { holdfastdOf } from './check-holdfastd.js';
import { finding, type Finding } from './finding.js';
import type { Disk, Host } from './host.js';
import type { LibvirtConfiguration } from './libvirt-configuration.js';

export function checkLibvirt(host: Host, disks: readonly Disk[]): Finding[] {
  if (host.libvirt.length === 0) {
    return [finding('libvirt-absent', { what: 'libvirt is not configured here' })];
  }
  return host.libvirt.flatMap((configuration) => [
    ...judgeManager(configuration),
    ...judgeLockspaces(configuration, host, disks),
    ...(configuration.system
      ? [...checkVirtlockd(configuration, host), ...checkAge(configuration, host)]
      : []),
  ]);
}

/** Also true where that cannot be seen. */
function mayUseLockd({ lockManager }: LibvirtConfiguration): boolean {
  return lockManager === undefined || lockManager === 'lockd';
}

function judgeManager(configuration: LibvirtConfiguration): Finding[] {
  const { directory, lockManager, unseen, autoDiskLeases, requireLeases } = configuration;
  const subject = join(directory, 'qemu.conf');
  const evidence = lockManager === undefined ? [] : [`lock_manager: ${lockManager}`];
  const hidden =
    unseen === undefined
      ? []
      : [
          finding('libvirt-settings-unseen', {
            subject: directory,
            what: "libvirt's settings cannot be read",
            evidence: [unseen],
          }),
        ];
  if (lockManager === undefined) return hidden;
  if (lockManager === 'nop' || lockManager === '') {
    return [...hidden, finding('libvirt-locks-off', { subject, what: 'libvirt takes no locks', evidence })];
  }
  // What that means depends on Holdfast's drivers: check-sanlock.ts.
  if (lockManager === 'sanlock') return hidden;
  if (lockManager !== 'lockd') {
    const what = `libvirt's lock manager is ${lockManager}, which the driver fcntl does not meet`;
    return [...hidden, finding('libvirt-other-manager', { subject, what, evidence })];
  }
  if (!autoDiskLeases) {
    const refused = requireLeases ? '; guests without leases are refused' : '';
    return [
      ...hidden,
      finding('libvirt-disks-unlocked', {
        subject: join(directory, 'qemu-lockd.conf'),
        what: `libvirt locks no disks, only leases${refused}`,
        evidence: [...evidence, `auto_disk_leases = 0, require_lease_for_disks = ${requireLeases ? 1 : 0}`],
      }),
    ];
  }
  const what = 'libvirt locks the disks of its guests through virtlockd';
  return [...hidden, finding('libvirt-locks-on', { subject, what, evidence })];
}

function judgeLockspaces(configuration: LibvirtConfiguration, host: Host, disks: readonly Disk[]): Finding[] {
  // Without lockd nobody looks at them; where that cannot be seen, Holdfast locks there to be safe.
  if (!mayUseLockd(configuration) || configuration.lockspaces.size === 0) return [];
  const subject = join(configuration.directory, 'qemu-lockd.conf');
  const evidence = [...configuration.lockspaces].map(([kind, path]) => `${kind}_lockspace_dir: ${path}`);
  const what = `libvirt locks in ${[...configuration.lockspaces.values()].join(', ')}, not the images`;
  const directory = configuration.lockspaces.get('file');
  const shared = disks.filter(({ resource }) => resource.scope === 'cluster');
  return [
    finding('lockspace-directory', { subject, what, evidence }),
    ...(directory !== undefined && isLocal(directory, host)
      ? shared.map(({ label, resource }) =>
          finding('lockspace-not-shared', {
            subject: label,
            what: `its lock is in ${directory}, which this host has alone`,
            evidence: [...evidence, resource.identity],
          }),
        )
      : []),
  ];
}

/** It may not have been made yet: then its parent tells. */
function isLocal(directory: string, host: Host): boolean {
  for (let path = directory; ; path = dirname(path)) {
    try {
      const real = realpathSync.native(path);
      const { dev } = inodeOf(statSync(real, { bigint: true }));
      return fileSystemOf(mountOf(host.mounts, real, dev), new Map()).kind === 'local';
    } catch {
      if (path === dirname(path)) return false;
    }
  }
}

/** Where its journal is, it was the one that ran since the host was booted. */
const startHoldfastd =
  'Start holdfastd, which takes the locks of guests that run again: systemctl start holdfastd.service. ' +
  'Or virtlockd, if that is the one to run: systemctl enable --now virtlockd.socket.';

/** A socket that systemd listens on is as good as a process: it starts one. */
function checkVirtlockd({ lockManager, directory }: LibvirtConfiguration, host: Host): Finding[] {
  if (lockManager !== 'lockd') return [];
  const socket = listeningSockets(host.roots.proc).find((path) =>
    /^(\/var)?\/run\/libvirt\/virtlockd-sock$/.test(path),
  );
  const daemon = host.processes.find((one) => isDaemon(one, ['virtlockd']));
  const evidence = [
    ...(socket === undefined ? [] : [`somebody listens on ${socket}`]),
    ...(daemon === undefined ? [] : [`virtlockd has pid ${daemon.pid}`]),
  ];
  const subject = join(directory, 'qemu.conf');
  if (evidence.length > 0) {
    const what =
      daemon === undefined && holdfastdOf(host) !== undefined
        ? "holdfastd answers in virtlockd's place"
        : 'virtlockd answers';
    return [finding('virtlockd-running', { subject, what, evidence })];
  }
  return [
    finding('virtlockd-not-running', {
      subject,
      what: 'lock_manager is lockd, and virtlockd does not run',
      ...(existsSync(join(host.runtimeDirectory, 'lockd.journal')) ? { remedy: startHoldfastd } : {}),
      evidence: ['nobody listens on /run/libvirt/virtlockd-sock', 'root has no process virtlockd'],
    }),
  ];
}

/** One of the system's: a user's own serves that user's guests alone. */
function isDaemon({ exe, argv, comm, uid }: ProcessInfo, programs: readonly string[]): boolean {
  const program = exe ?? argv[0]?.split('/').at(-1) ?? comm;
  return uid === 0 && programs.includes(program);
}

/** Files have their times to the nanosecond, processes to a hundredth of a second. */
const toleranceMs = 1000;

function checkAge({ directory, changedMs }: LibvirtConfiguration, host: Host): Finding[] {
  const daemon = host.processes.find((one) => isDaemon(one, ['libvirtd', 'virtqemud']));
  if (daemon?.since === undefined || Date.parse(daemon.since) + toleranceMs >= changedMs) return [];
  const changed = new Date(changedMs).toISOString().replace(/\.\d+Z$/, 'Z');
  return [
    finding('libvirt-not-restarted', {
      subject: directory,
      what: `libvirt's settings were changed after ${daemon.exe ?? daemon.comm} (pid ${daemon.pid}) had started`,
      evidence: [`changed ${changed}`, `started ${daemon.since}`],
    }),
  ];
}
