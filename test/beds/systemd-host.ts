/**
 * A host with a real systemd as its first process, as far as its programs can tell: names and mounts of its own, a part of
 * the control groups, and of the units only libvirt's, those of the lock daemons and what they need; so it starts nothing
 * else, mounts nothing and makes no devices. Nothing of it outlives its first process. Needs root.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { leaveLoopMounts } from './foreign-mounts.js';
import { holdfast, start, type Ended, type Running } from './command.js';
import { firstChild } from './glusterfs.js';
import { holdfastdCommand } from './holdfastd.js';
import { until } from './until.js';

const unitFolder = ['/usr/lib/systemd/system', '/lib/systemd/system'].find(existsSync) ?? '';
export const packagedUnits = fileURLToPath(new URL('../../packaging/systemd/', import.meta.url));

const neededUnits =
  /^(?:virt(?:lock|log)d(?:-admin)?|libvirtd(?:-ro|-admin)?)\.(?:service|socket)$|^systemd-journald(?:-dev-log)?\.(?:service|socket)$|^(?:basic|sysinit|sockets|multi-user|shutdown|local-fs|remote-fs|network|slices)\.target$/;

const firstTarget = `[Unit]
DefaultDependencies=no
Wants=systemd-journald.socket sockets.target virtlogd.socket libvirtd.socket
`;

const libvirtSettings = `lock_manager = "lockd"
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
`;

/** Instead of the machine's: a folder each below the bed's own. */
const ownFolders = [
  '/etc/libvirt',
  '/etc/systemd/system',
  '/usr/local/sbin',
  '/usr/local/lib',
  '/var/lib/libvirt',
  '/var/cache/libvirt',
  '/var/log',
  unitFolder,
  `${dirname(unitFolder)}/system-generators`,
];

/** The part of the control groups is removed by the shell outside, when systemd and all that it started have ended. */
const outer = `
set -e
own=$1
shift
mount -t tmpfs -o mode=755 tmpfs "$own/cgroup"
mount -t cgroup2 cgroup "$own/cgroup"
part=$own/cgroup/holdfast-test-$$
mkdir "$part"
sh -c 'echo $$ >"$1/cgroup.procs" && shift && exec unshare -u -p -n -i -C -m --propagation private --fork --kill-child --mount-proc "$@"' sh "$part" "$@" || true
for round in $(seq 200); do
  find "$part" -depth -type d -exec rmdir {} \\; 2>/dev/null || true
  [ -d "$part" ] || break
  sleep 0.05
done
`;

const inner = `${leaveLoopMounts}
set -e
own=$1
shift
hostname host1
ip link set lo up
for folder; do mkdir -p "$folder" 2>/dev/null || true; mount --bind "$own$folder" "$folder"; done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir "$own/dev"
mount -t tmpfs -o mode=755 tmpfs "$own/dev"
for name in null zero full random urandom tty; do touch "$own/dev/$name"; mount --bind "/dev/$name" "$own/dev/$name"; done
mkdir "$own/dev/pts" "$own/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$own/dev/pts"
ln -s pts/ptmx "$own/dev/ptmx"
ln -s /proc/self/fd "$own/dev/fd"
mount --rbind "$own/dev" /dev
umount -R /sys
mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup /sys/fs/cgroup
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin container=test \\
  /lib/systemd/systemd --unit=first.target --log-target=console --show-status=no
`;

export class SystemdHost {
  readonly #own: string;
  readonly #outer: Running;
  readonly #init: number;

  private constructor(own: string, outerShell: Running, initPid: number) {
    this.#own = own;
    this.#outer = outerShell;
    this.#init = initPid;
  }

  /** `parent`: a private folder of the test. Throws what systemd said if it does not start here. */
  static async start(parent: string): Promise<SystemdHost> {
    const own = join(parent, 'host1');
    for (const each of ['/cgroup', ...ownFolders]) mkdirSync(own + each, { recursive: true });
    for (const name of readdirSync(unitFolder).filter((one) => neededUnits.test(one)))
      copyFileSync(join(unitFolder, name), join(own + unitFolder, name));
    writeFileSync(join(own + unitFolder, 'first.target'), firstTarget);
    writeFileSync(join(own, 'etc/libvirt/qemu.conf'), libvirtSettings);
    writeFileSync(join(own, 'etc/libvirt/libvirtd.conf'), 'auth_unix_rw = "none"\n');
    installPrograms(join(own, 'usr/local/sbin'));
    const shell = start('unshare', [
      '-m',
      '--propagation',
      'private',
      ...['sh', '-c', outer, 'outer', own, 'sh', '-c', inner, 'inner', own, ...ownFolders],
    ]);
    try {
      let pid = 0;
      await until(
        () => {
          if (shell.child.exitCode !== null) throw new Error(shell.stderr);
          pid = systemdBelow(shell.pid);
          return pid > 0 && existsSync(`/proc/${pid}/root/run/systemd/private`);
        },
        () => `systemd: ${shell.stdout}${shell.stderr}`,
      );
      return new SystemdHost(own, shell, pid);
    } catch (error) {
      shell.child.kill('SIGKILL');
      throw error;
    }
  }

  /** Puts the units of the package where an administrator's own stand. */
  installUnits(): void {
    const folder = join(this.#own, 'usr/local/lib/systemd/system');
    mkdirSync(folder, { recursive: true });
    for (const name of readdirSync(join(packagedUnits, 'system')))
      copyFileSync(join(packagedUnits, 'system', name), join(folder, name));
  }

  /** A unit of the administrator's own. */
  addUnit(name: string, text: string): void {
    writeFileSync(join(this.#own, 'etc/systemd/system', name), text);
  }

  /** Adds to a unit what an administrator would by `systemctl edit`. */
  configure(unit: string, text: string): void {
    const folder = join(this.#own, 'etc/systemd/system', `${unit}.d`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'own.conf'), text);
  }

  /** Its files, as others reach them. */
  get root(): string {
    return `/proc/${this.#init}/root`;
  }

  /** What runs a command there, to be put before it. */
  get enter(): readonly string[] {
    const clean = ['env', '-u', 'HOLDFAST_RUNTIME_DIR', '-u', 'XDG_CONFIG_HOME'];
    return ['nsenter', '-t', String(this.#init), '-m', '-u', '-i', '-n', '-p', '-C', '-w', '--', ...clean];
  }

  /** A program of it that runs on. */
  start(program: string, ...args: readonly string[]): Running {
    const [first = '', ...rest] = [...this.enter, program, ...args];
    return start(first, rest, { input: '' });
  }

  try(program: string, ...args: readonly string[]): Promise<Ended> {
    return this.start(program, ...args).ended;
  }

  /** What it prints, without the last line's end; throws if it fails. */
  async run(program: string, ...args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.try(program, ...args);
    if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stdout}${stderr}`);
    return stdout.trim();
  }

  /** Ends every process of it. */
  async stop(): Promise<void> {
    try {
      process.kill(this.#init, 'SIGKILL');
    } catch {
      // It has ended.
    }
    await this.#outer.exited;
  }
}

/** `holdfastd` and `holdfast`, where systemd looks for programs, with the Node that runs the tests. */
function installPrograms(folder: string): void {
  const install = (name: string, command: readonly string[]): void => {
    const words = command.map((word) => `'${word}'`).join(' ');
    const script = `#!/bin/sh\nPATH='${dirname(process.execPath)}':$PATH exec ${words} "$@"\n`;
    writeFileSync(join(folder, name), script, { mode: 0o755 });
  };
  install('holdfastd', holdfastdCommand);
  install('holdfast', [holdfast]);
}

/** outer shell, shell of the control group (which becomes unshare), systemd; 0: it is not there yet. */
function systemdBelow(pid: number): number {
  try {
    return firstChild(firstChild(pid));
  } catch {
    return 0;
  }
}
