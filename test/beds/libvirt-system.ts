/**
 * A whole host with a real libvirt, as far as its programs can tell: process, mount and host names of its own, with a private
 * /run, /etc/libvirt and /var/lib/libvirt, and one of the lock daemons. Nothing of it outlives its first
 * process. Needs root.
 */
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomHex } from '../../src/system/random.js';
import { leaveLoopMounts } from './foreign-mounts.js';
import { start, type Running, type StartOptions } from './command.js';
import { firstChild } from './glusterfs.js';
import { holdfastdCommand } from './holdfastd.js';
import { LockClient } from './lock-client.js';
import { stuckForks } from './stuck-fork.js';
import { until } from './until.js';

export type LockDaemon = 'virtlockd' | 'holdfastd' | 'sanlock';

export interface LibvirtSystemOptions {
  /** Of the host; its files are in a folder of this name. */
  readonly name: string;
  readonly locks: LockDaemon;
  /** libvirt's file_lockspace_dir; without it the disks themselves are locked. */
  readonly lockspace?: string;
  /** A directory of locks for leases: libvirt itself makes only those that are configured, so it is its lvm_lockspace_dir. */
  readonly leases?: string;
  /** An ordinary user's libvirt (`qemu:///session`), of this uid and gid, instead of the system's. */
  readonly user?: number;
  /** An address of its own in a network of its own, in which others can be (`joinNetworks`). */
  readonly address?: string;
  /** Starts it among the programs of another bed; else it is started here. */
  readonly startIn?: (program: string, args: readonly string[]) => Running;
  /** Another name of a folder, for this host alone. */
  readonly bind?: { readonly folder: string; readonly at: string };
  /** libvirt's qemu-sanlock.conf; none: there is no such file. */
  readonly sanlockConf?: string;
  /** Further arguments of holdfastd; the host has a machine-id of its own then. */
  readonly holdfastd?: readonly string[];
}

/** The end of a call of virsh. */
export interface VirshEnd {
  readonly ok: boolean;
  readonly text: string;
}

const ownFolders = ['/etc/libvirt', '/var/lib/libvirt', '/var/cache/libvirt', '/var/log/libvirt'];

/** Without the machine's users, confinement and control groups: the guests run as this root, in plain processes. */
const asRoot = 'user = "root"\ngroup = "root"\n';
const qemuSettings = `security_driver = "none"
cgroup_controllers = []
namespaces = []
`;

/** The first process waits for the children that nobody else waits for; QEMU is one of them. */
const init = `${leaveLoopMounts}
set -e
own=$1 name=$2 bound=$3 at=$4
shift 4
hostname "$name"
ip link set lo up 2>/dev/null || true
mount -t tmpfs -o mode=755 tmpfs /run
for folder; do mount --bind "$own$folder" "$folder"; done
[ -z "$bound" ] || mount --bind "$bound" "$at"
[ ! -e "$own/machine-id" ] || mount --bind "$own/machine-id" /etc/machine-id
touch "$own/up"
while :; do sleep 1000; done
`;

/** libvirt asks every QEMU what it can do when it starts first, and others use the processors as well. */
const answerMsMax = 60_000;
/** No call of virsh here takes a tenth of it: one that does hangs. */
const virshMsMax = 60_000;

export class LibvirtSystem {
  readonly name: string;
  readonly locks: LockDaemon;
  readonly #own: string;
  readonly #options: LibvirtSystemOptions;
  readonly #outer: Running;
  readonly #init: number;
  #lockDaemon: Running | undefined;
  #libvirtd: Running | undefined;
  #stuckForks = 0;

  private constructor(options: LibvirtSystemOptions, own: string, outer: Running, initPid: number) {
    this.name = options.name;
    this.locks = options.locks;
    this.#options = options;
    this.#own = own;
    this.#outer = outer;
    this.#init = initPid;
  }

  /** Starts it; returns when virsh is answered. `parent`: a private folder of the test. */
  static async start(parent: string, options: LibvirtSystemOptions): Promise<LibvirtSystem> {
    const own = join(parent, options.name);
    for (const each of ownFolders) mkdirSync(own + each, { recursive: true });
    if (options.holdfastd !== undefined) writeFileSync(join(own, 'machine-id'), `${randomHex(16)}\n`);
    const { bind, startIn = start, address } = options;
    const spaces = [
      '-m',
      '-u',
      '-p',
      '--fork',
      '--kill-child',
      '--mount-proc',
      '--propagation',
      'private',
      ...(address === undefined ? [] : ['-n']),
    ];
    const place = [own, options.name, bind?.folder ?? '', bind?.at ?? ''];
    const outer = startIn('unshare', [...spaces, 'sh', '-c', init, 'init', ...place, ...ownFolders]);
    await until(
      () => existsSync(join(own, 'up')),
      () => `a host: ${outer.stdout}${outer.stderr}`,
    );
    const system = new LibvirtSystem(options, own, outer, lastOf(outer.pid, 'init'));
    try {
      system.#writeSettings();
      system.#giveToUser();
      if (options.user === undefined) system.start('virtlogd', ['-p', '/run/virtlogd.pid']);
      await system.startLocks();
      await system.startLibvirtd();
      return system;
    } catch (error) {
      await system.stop();
      throw error;
    }
  }

  #writeSettings(): void {
    const { lockspace, leases, address, user } = this.#options;
    const etc = user === undefined ? join(this.#own, 'etc/libvirt') : join(this.#own, 'home/.config/libvirt');
    mkdirSync(etc, { recursive: true });
    const manager = `lock_manager = "${this.locks === 'sanlock' ? 'sanlock' : 'lockd'}"\n`;
    writeFileSync(join(etc, 'qemu.conf'), manager + qemuSettings + (user === undefined ? asRoot : ''));
    const { sanlockConf } = this.#options;
    if (sanlockConf !== undefined) writeFileSync(join(etc, 'qemu-sanlock.conf'), sanlockConf);
    const lockd = [
      ...(lockspace === undefined ? [] : [`file_lockspace_dir = "${lockspace}"\n`]),
      ...(leases === undefined ? [] : [`lvm_lockspace_dir = "${leases}"\n`]),
    ];
    writeFileSync(join(etc, 'qemu-lockd.conf'), lockd.join(''));
    const tcp =
      address === undefined
        ? ''
        : `listen_tls = 0\nlisten_tcp = 1\nauth_tcp = "none"\nlisten_addr = "0.0.0.0"\n`;
    // Two hosts with one uuid do not migrate to each other, and that of the machine is one.
    writeFileSync(
      join(etc, 'libvirtd.conf'),
      `host_uuid = "${crypto.randomUUID()}"\nauth_unix_rw = "none"\n${tcp}`,
    );
  }

  /** A user has a home, and a runtime directory that a login makes. */
  #giveToUser(): void {
    const { user } = this.#options;
    if (user === undefined) return;
    const runtime = this.outside(`/run/user/${user}`);
    mkdirSync(runtime, { recursive: true });
    const home = join(this.#own, 'home');
    const below = readdirSync(home, { recursive: true, encoding: 'utf8' });
    for (const path of [runtime, home, ...below.map((one) => join(home, one))]) chownSync(path, user, user);
  }

  /** Where libvirt has its sockets and what it knows of guests, as this host has it. */
  get #runFolder(): string {
    const { user } = this.#options;
    return user === undefined ? '/run/libvirt' : `/run/user/${user}/libvirt`;
  }

  /** Where another process finds a path of this host. */
  outside(path: string): string {
    return `/proc/${this.#init}/root${path}`;
  }

  /** The network, for `ip link set ... netns`. */
  get initPid(): number {
    return this.#init;
  }

  /** Starts a program on this host, as the user whose libvirt it is. */
  start(program: string, args: readonly string[], options: StartOptions = {}): Running {
    const { user } = this.#options;
    const place = ['-t', String(this.#init), '-m', '-u', '-n', '-p', '--'];
    const as =
      user === undefined
        ? []
        : ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups', '--inh-caps=-all', '--'];
    const own =
      user === undefined
        ? { HOLDFAST_RUNTIME_DIR: '/run/holdfast' }
        : {
            HOME: join(this.#own, 'home'),
            XDG_CONFIG_HOME: join(this.#own, 'home/.config'),
            XDG_RUNTIME_DIR: `/run/user/${user}`,
            HOLDFAST_RUNTIME_DIR: `/run/user/${user}/holdfast`,
          };
    // The test's own mark, in place of the runtime directory that Holdfast has on this host.
    const env = { HOLDFAST_TEST: process.env['HOLDFAST_RUNTIME_DIR'], ...own, ...options.env };
    return start('nsenter', [...place, ...as, program, ...args], { ...options, env });
  }

  /** Runs virsh; fails as it fails. Throws if it does not come back. */
  async tryVirsh(...args: readonly string[]): Promise<VirshEnd> {
    const running = this.start('virsh', ['-q', '-c', this.#uri, ...args], { input: '' });
    if (!(await endsInTime(running)) && !(this.#endStuckForks() && (await endsInTime(running)))) {
      running.child.kill('SIGKILL');
      throw new Error(`virsh ${args.join(' ')} on ${this.name} hangs`);
    }
    const { status, stdout, stderr } = await running.ended;
    return { ok: status === 0, text: status === 0 ? stdout : stderr };
  }

  /** How often libvirtd waited for a child that nobody could wake, and that was ended for it. */
  get stuckForks(): number {
    return this.#stuckForks;
  }

  #endStuckForks(): boolean {
    const stuck = stuckForks([this.#init, firstChild(this.#libvirtd?.pid ?? 0)]);
    for (const pid of stuck) process.kill(pid, 'SIGKILL');
    this.#stuckForks += stuck.length;
    return stuck.length > 0;
  }

  /** Runs virsh; gives what it prints, throws if it fails. */
  async virsh(...args: readonly string[]): Promise<string> {
    const { ok, text } = await this.tryVirsh(...args);
    if (!ok) throw new Error(`virsh ${args.join(' ')} on ${this.name}: ${text}`);
    return text;
  }

  get #uri(): string {
    const mode = this.#options.user === undefined ? 'system' : 'session';
    // With the socket's name virsh does not start a libvirtd itself.
    return `qemu+unix:///${mode}?socket=${this.#runFolder}/libvirt-sock`;
  }

  get lockSocket(): string {
    return this.outside(join(this.#runFolder, 'virtlockd-sock'));
  }

  /** The lock daemon's first process: the keeper, where there is one. */
  get lockPid(): number {
    return firstChild(this.#lockDaemon?.pid ?? 0);
  }

  /** What the lock daemon has said. */
  get lockLog(): string {
    return `${this.#lockDaemon?.stdout}${this.#lockDaemon?.stderr}`;
  }

  /** Returns when the lock daemon has said this. */
  async lockLogSays(text: string): Promise<void> {
    await until(
      () => this.lockLog.includes(text),
      () => `'${text}' in: ${this.lockLog}`,
    );
  }

  /** holdfastd's second process, which does everything; undefined: it is being started again just now. */
  get lockWorkerPid(): number | undefined {
    try {
      return firstChild(this.lockPid) || undefined;
    } catch {
      return undefined;
    }
  }

  async startLocks(): Promise<void> {
    if (this.locks === 'sanlock') return this.#startSanlock();
    const [program, ...args] =
      this.locks === 'virtlockd'
        ? ['virtlockd', '-f', '/dev/null']
        : [...holdfastdCommand, ...(this.#options.holdfastd ?? [])];
    this.#lockDaemon = this.start(program ?? '', args);
    // A socket's file of an earlier one may be there already.
    const answers = (): Promise<boolean> =>
      LockClient.connect(this.lockSocket).then(
        (client) => {
          client.close();
          return true;
        },
        () => false,
      );
    await until(answers, () => `${this.locks}: ${this.lockLog}`);
  }

  /** Without a watchdog, and not as a user of its own. It is where everybody looks for it. */
  async #startSanlock(): Promise<void> {
    await this.start('mkdir', ['-p', '/run/sanlock']).exited;
    const env = { SANLOCK_PRIVILEGED: '0', SANLOCK_RUN_DIR: '/run/sanlock' };
    const args = ['daemon', '-D', '-w', '0', '-l', '0', '-U', 'root', '-G', 'root', '-e', this.name];
    this.#lockDaemon = this.start('sanlock', args, { env });
    const answers = async (): Promise<boolean> =>
      (await this.start('sanlock', ['client', 'status'], { input: '' }).ended).status === 0;
    await until(answers, () => `sanlock: ${this.lockLog}`);
  }

  /** Ends the lock daemon, all of it, without any goodbye. */
  async killLocks(): Promise<void> {
    const pids = [this.lockPid, this.locks === 'holdfastd' ? this.lockWorkerPid : undefined];
    for (const pid of pids) if (pid !== undefined && pid > 0) process.kill(pid, 'SIGKILL');
    await this.#lockDaemon?.exited;
    await until(() => pids.every((pid) => pid === undefined || !existsSync(`/proc/${pid}`)), 'its end');
  }

  /** Ends holdfastd's second process, and returns when the next one is there. */
  async killLockWorker(): Promise<void> {
    const pid = this.lockWorkerPid;
    if (pid === undefined) return;
    process.kill(pid, 'SIGKILL');
    await this.untilNextWorker(pid);
  }

  async untilNextWorker(before: number): Promise<void> {
    await until(
      () => ![before, undefined].includes(this.lockWorkerPid),
      () => `the next daemon: ${this.lockLog}`,
    );
  }

  async startLibvirtd(): Promise<void> {
    const listen = this.#options.address === undefined ? [] : ['--listen'];
    this.#libvirtd = this.start('libvirtd', listen);
    await until(
      async () => (await this.tryVirsh('list')).ok,
      () => `libvirtd: ${this.#libvirtd?.stdout}${this.#libvirtd?.stderr}`,
      answerMsMax,
    );
  }

  /** The guests run on. */
  async restartLibvirtd(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    process.kill(firstChild(this.#libvirtd?.pid ?? 0), signal);
    await this.#libvirtd?.exited;
    await this.startLibvirtd();
  }

  /** The pid of a running guest's QEMU, as everyone but this host has it. */
  qemuPid(guest: string): number {
    const folder = this.#options.user === undefined ? 'qemu' : 'qemu/run';
    const file = join(this.#runFolder, folder, `${guest}.pid`);
    const inside = readFileSync(this.outside(file), 'utf8').trim();
    const all = readFileSync(`/proc/${this.#init}/task/${this.#init}/children`, 'utf8')
      .split(' ')
      .map(Number);
    const found = all.find((pid) => pid > 0 && innermostPid(pid) === inside);
    if (found === undefined) throw new Error(`no process ${inside} on ${this.name}`);
    return found;
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

async function endsInTime(running: Running): Promise<boolean> {
  let late: NodeJS.Timeout | undefined;
  const tooLate = new Promise<false>((resolve) => {
    late = setTimeout(() => resolve(false), virshMsMax);
  });
  try {
    return await Promise.race([running.ended.then(() => true), tooLate]);
  } finally {
    clearTimeout(late);
  }
}

/** A pid as the process itself has it. */
function innermostPid(pid: number): string | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return /^NSpid:.*\t(?<inner>\d+)$/m.exec(status)?.groups?.['inner'];
  } catch {
    return undefined; // It has ended.
  }
}

/** The process below `pid`, one below the other, that was started with this word among its arguments and has no such parent. */
function lastOf(pid: number, word: string): number {
  for (let at = pid; at > 0; at = firstChild(at)) {
    const [program, , , zero] = readFileSync(`/proc/${at}/cmdline`, 'utf8').split('\0');
    if (program === 'sh' && zero === word) return at;
  }
  throw new Error(`no process ${word} below ${pid}`);
}

/** Joins the networks of two hosts by one cable. Their addresses are in one network of 24 bits. */
export async function joinNetworks(
  a: LibvirtSystem,
  b: LibvirtSystem,
  addresses: readonly [string, string],
): Promise<void> {
  const ip = async (system: LibvirtSystem, ...args: string[]): Promise<void> => {
    const { status, stderr } = await start('nsenter', ['-t', String(system.initPid), '-n', 'ip', ...args], {
      input: '',
    }).ended;
    if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`);
  };
  await ip(a, 'link', 'add', 'cable', 'type', 'veth', 'peer', 'name', 'cable', 'netns', String(b.initPid));
  for (const [system, address] of [
    [a, addresses[0]],
    [b, addresses[1]],
  ] as const) {
    await ip(system, 'address', 'add', `${address}/24`, 'dev', 'cable');
    await ip(system, 'link', 'set', 'cable', 'up');
  }
}
