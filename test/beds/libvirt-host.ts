/**
 * A real libvirtd with virtlockd as its lock manager, of the test's own: in a mount namespace with its own folders, so
 * the machine's libvirt is not touched. From outside its socket is reached through /proc/PID/root. Needs root.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { leaveLoopMounts } from './foreign-mounts.js';
import { start } from './command.js';
import { until } from './until.js';

export interface LibvirtHost {
  /** For LIBVIRT_DEFAULT_URI. */
  readonly uri: string;
  /** Runs virsh; gives what it prints, throws if it fails. */
  virsh(...args: readonly string[]): string;
  /** Ends the guests that it runs, then itself. */
  stop(): Promise<void>;
}

const ownFolders = [
  '/run/libvirt',
  '/etc/libvirt',
  '/var/lib/libvirt',
  '/var/cache/libvirt',
  '/var/log/libvirt',
];

/** Without the machine's users, confinement and control groups: the guests run as this root, in plain processes. */
const qemuSettings = `lock_manager = "lockd"
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
`;

/** Each daemon is a child of the shell, so that all of them carry the test's mark and end with it. */
const script = `${leaveLoopMounts}
set -e
own="$1"; shift
for folder; do mkdir -p "$folder"; mount --bind "$own$folder" "$folder"; done
virtlogd -p "$own/virtlogd.pid" & virtlockd -p "$own/virtlockd.pid" &
exec libvirtd -p "$own/libvirtd.pid"
`;

/** Starts it; returns when virsh is answered. `folder`: a private one of the test. */
export async function startLibvirtHost(folder: string): Promise<LibvirtHost> {
  const own = join(folder, 'libvirt');
  for (const each of ownFolders) mkdirSync(own + each, { recursive: true });
  writeFileSync(join(own, 'etc/libvirt/qemu.conf'), qemuSettings);
  // The pid stays the same through unshare, sh and libvirtd.
  const args = ['-m', '--propagation', 'private', 'sh', '-c', script, 'sh', own, ...ownFolders];
  const daemon = start('unshare', args);
  const uri = `qemu+unix:///system?socket=/proc/${daemon.pid}/root/run/libvirt/libvirt-sock`;
  const virsh = (...command: readonly string[]): string =>
    execFileSync('virsh', ['-c', uri, ...command], { encoding: 'utf8', stdio: 'pipe' });
  const answers = (): boolean => {
    try {
      virsh('list');
      return true;
    } catch {
      return false;
    }
  };
  await until(answers, () => `libvirtd: ${daemon.stdout}${daemon.stderr}`, 60_000);
  return {
    uri,
    virsh,
    async stop() {
      for (const name of virsh('list', '--name').split('\n').filter(Boolean)) virsh('destroy', name);
      daemon.child.kill('SIGKILL');
      await daemon.exited;
    },
  };
}
