/**
 * What a test needs of the machine. Where it is missing the test is skipped and says why; with HOLDFAST_NO_SKIP=1,
 * as in .ci/run, a missing part is a failure, so that nothing is left untested unseen.
 */
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'node:test';

export type Part =
  | 'root'
  | 'not root'
  | 'qemu'
  | 'qemu-img'
  | 'qemu-io'
  | 'qemu-nbd'
  | 'qemu-storage-daemon'
  | 'nbdkit'
  | 'virsh'
  | 'libvirtd'
  | 'virtlockd'
  | 'glusterfs'
  | 'guestfish'
  | 'guestmount'
  | 'losetup'
  | 'fuse'
  | 'unshare'
  | 'mkfs.ext4'
  | 'perl'
  | 'script'
  | 'setpriv'
  | 'systemd'
  | 'mandoc'
  | 'zsh'
  | 'fish'
  | 'etcd'
  | 'sanlock'
  | 'sanlock plugin'
  | 'openssl';

function programMissing(program: string, debianPackage: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  for (const folder of folders) {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return undefined;
    } catch {
      // Not here: the next folder may have it.
    }
  }
  return `${program} is not installed (Debian package ${debianPackage})`;
}

/** libguestfs makes its appliance from a kernel of the host. */
function kernelMissing(): string | undefined {
  try {
    const kernels = readdirSync('/boot').filter((name) => name.startsWith('vmlinuz-'));
    for (const name of kernels) accessSync(join('/boot', name), constants.R_OK);
    if (kernels.length > 0) return undefined;
  } catch {
    // No such folder, or a kernel that only root may read.
  }
  return 'there is no kernel in /boot that can be read (Debian package linux-image-amd64)';
}

/** libvirt loads it from a folder of its own, which differs by distribution. */
function pluginMissing(): string | undefined {
  const folders = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64', '/usr/lib'];
  const found = folders.some((folder) => existsSync(join(folder, 'libvirt/lock-driver/sanlock.so')));
  return found ? undefined : "libvirt's plugin for sanlock is not installed (Debian package libvirt-sanlock)";
}

const checks: Record<Part, () => string | undefined> = {
  root: () => (process.getuid?.() === 0 ? undefined : 'only root can do this'),
  'not root': () => (process.getuid?.() === 0 ? 'root is allowed everything' : undefined),
  qemu: () => programMissing('qemu-system-x86_64', 'qemu-system-x86'),
  'qemu-img': () => programMissing('qemu-img', 'qemu-utils'),
  'qemu-io': () => programMissing('qemu-io', 'qemu-utils'),
  'qemu-nbd': () => programMissing('qemu-nbd', 'qemu-utils'),
  'qemu-storage-daemon': () => programMissing('qemu-storage-daemon', 'qemu-system-common'),
  nbdkit: () => programMissing('nbdkit', 'nbdkit'),
  virsh: () => programMissing('virsh', 'libvirt-clients'),
  libvirtd: () => programMissing('libvirtd', 'libvirt-daemon'),
  virtlockd: () => programMissing('virtlockd', 'libvirt-daemon'),
  glusterfs: () =>
    programMissing('glusterd', 'glusterfs-server') ?? programMissing('mount.glusterfs', 'glusterfs-client'),
  guestfish: () =>
    programMissing('guestfish', 'libguestfs-tools') ??
    programMissing('qemu-system-x86_64', 'qemu-system-x86') ??
    kernelMissing(),
  guestmount: () =>
    programMissing('guestmount', 'guestmount') ?? (existsSync('/dev/fuse') ? undefined : 'there is no FUSE'),
  fuse: () => (existsSync('/dev/fuse') ? undefined : 'there is no FUSE'),
  losetup: () => programMissing('losetup', 'mount'),
  unshare: () => programMissing('unshare', 'util-linux'),
  'mkfs.ext4': () => programMissing('mkfs.ext4', 'e2fsprogs'),
  perl: () => programMissing('perl', 'perl-base'),
  script: () => programMissing('script', 'bsdutils'),
  setpriv: () => programMissing('setpriv', 'util-linux'),
  systemd: () => programMissing('systemd-analyze', 'systemd'),
  mandoc: () => programMissing('mandoc', 'mandoc'),
  zsh: () => programMissing('zsh', 'zsh'),
  fish: () => programMissing('fish', 'fish'),
  etcd: () => programMissing('etcd', 'etcd-server'),
  'sanlock plugin': pluginMissing,
  sanlock: () =>
    programMissing('sanlock', 'sanlock') ??
    (process.getuid?.() === 0 ? undefined : 'who runs a sanlock daemon has to be root here'),
  openssl: () => programMissing('openssl', 'openssl'),
};

/** The reason to skip, as the `skip` option of a test takes it: `test(name, { skip: lacks('qemu') }, ...)`. */
export function lacks(...parts: readonly Part[]): string | false {
  const reasons = parts.map((part) => checks[part]()).filter((reason) => reason !== undefined);
  if (reasons.length === 0) return false;
  const reason = reasons.join('; ');
  if (process.env['HOLDFAST_NO_SKIP'] === '1') throw new Error(`HOLDFAST_NO_SKIP=1, but ${reason}`);
  return reason;
}

/** Inside a test: `if (!needs(t, 'qemu', 'root')) return;`. Skips the test with the reason where a part is missing. */
export function needs(t: TestContext, ...parts: readonly Part[]): boolean {
  const reason = lacks(...parts);
  if (reason === false) return true;
  t.skip(reason);
  return false;
}

/** For what a test finds missing by trying (a kernel without FUSE): skips, or fails with HOLDFAST_NO_SKIP=1. */
export function skipBecause(t: TestContext, reason: string): void {
  if (process.env['HOLDFAST_NO_SKIP'] === '1') throw new Error(`HOLDFAST_NO_SKIP=1, but ${reason}`);
  t.skip(reason);
}
