/** The real parts that the suites work with. Where they cannot be installed, the suites skip and say why. */
import { spawnSync } from 'node:child_process';

const packages = [
  'qemu-system-x86',
  'qemu-utils',
  'libvirt-daemon',
  'libvirt-daemon-system',
  'libvirt-clients',
  'glusterfs-server',
  'glusterfs-client',
  'libguestfs-tools',
  'linux-image-amd64',
  'nbdkit',
  'lsof',
  'etcd-server',
  'etcd-client',
  'sanlock',
  'libsanlock-client1',
  'libvirt-sanlock',
  'iproute2',
  'systemd',
  'mandoc',
  'zsh',
  'fish',
];

function isInstalled(name) {
  const { stdout } = spawnSync('dpkg-query', ['-W', '-f', '${db:Status-Status}', name], { encoding: 'utf8' });
  return stdout === 'installed';
}

function apt(...args) {
  process.stdout.write(`$ apt-get ${args.join(' ')}\n`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync('apt-get', ['-q', ...args], { env, stdio: ['ignore', 'ignore', 'inherit'] }).status === 0;
}

/** As root on a Debian machine; elsewhere it does nothing. Says so if something could not be installed. */
export function installDebianPackages() {
  if (process.getuid() !== 0 || spawnSync('apt-get', ['--version']).status !== 0) return;
  const missing = packages.filter((name) => !isInstalled(name));
  if (missing.length === 0) return;
  if (apt('update') && apt('install', '-y', '--no-install-recommends', ...missing)) return;
  process.stdout.write(`could not install ${missing.join(', ')}; the suites that need them are skipped\n`);
}
