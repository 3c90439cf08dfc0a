/**
 * Where a process lives, as its users call it: the container, by its control group (cgroups(7)), or another pid
 * namespace (pid_namespaces(7)). A control group is named by whoever made it: this is a hint for people, never proof.
 */
import { readlinkSync } from 'node:fs';
import { readProcText } from './proc-file.js';
import type { ProcOptions } from './process.js';

/** Twelve hierarchies at most, each with a path of up to 4,096 bytes. */
const cgroupBytesMax = 64 * 1024;
const statusBytesMax = 4096;
/** What `docker ps`, `podman ps` and `crictl ps` show of an id. */
const idLength = 12;
/** The inode number of the first pid namespace, the same on every host (PROC_PID_INIT_INO in the kernel). */
const firstPidNamespace = 'pid:[4026531836]';

/**
 * The container or pid namespace of a process in words (`docker container 3f2a91c0d4e5`, `another pid namespace (pid 7
 * there)`); undefined: it is where this process is, or gone.
 */
export function containerOf(pid: number, options: ProcOptions = {}): string | undefined {
  const root = options.root ?? '/proc';
  const name = containerName(readProcText(`${root}/${pid}/cgroup`, cgroupBytesMax) ?? '');
  if (
    name !== undefined &&
    name !== containerName(readProcText(`${root}/self/cgroup`, cgroupBytesMax) ?? '')
  ) {
    return name;
  }
  return otherPidNamespace(root, pid);
}

/** Whether this process is in the first pid namespace, so that /proc shows every process of the host. */
export function seesWholeHost(root = '/proc'): boolean {
  return pidNamespace(root, 'self') === firstPidNamespace;
}

function otherPidNamespace(root: string, pid: number): string | undefined {
  const inner = namespacePids(root, pid);
  const [its, ours] = [pidNamespace(root, pid), pidNamespace(root, 'self')];
  // Another user's link may not be read, but everyone may read the status.
  const same = its === undefined || ours === undefined ? inner.length <= 1 : its === ours;
  if (same) return undefined;
  return inner.length > 1 ? `another pid namespace (pid ${inner.at(-1)} there)` : 'another pid namespace';
}

function pidNamespace(root: string, pid: number | 'self'): string | undefined {
  try {
    return readlinkSync(`${root}/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}

/** Its pids from the namespace of this procfs down to its own. A name cannot fake the line: the kernel escapes newlines. */
function namespacePids(root: string, pid: number): string[] {
  const status = readProcText(`${root}/${pid}/status`, statusBytesMax) ?? '';
  return /^NSpid:\s*(\d[\d\s]*?)$/m.exec(status)?.[1]?.split(/\s+/) ?? [];
}

/** What a program calls the control groups of its containers, as one or two whole parts of the path. */
const namings: readonly (readonly [pattern: RegExp, words: (name: string) => string])[] = [
  [/(?:^|\/)docker[-/](?<name>[0-9a-f]{64})(?:\.scope)?(?:\/|$)/, (id) => `docker container ${short(id)}`],
  [/(?:^|\/)libpod-(?<name>[0-9a-f]{64})(?:\.scope)?(?:\/|$)/, (id) => `podman container ${short(id)}`],
  [/(?:^|\/)crio-(?<name>[0-9a-f]{64})(?:\.scope)?(?:\/|$)/, (id) => `CRI-O container ${short(id)}`],
  [
    /(?:^|[/:])(?:cri-containerd|nerdctl)[-:](?<name>[0-9a-f]{64})(?:\.scope)?(?:\/|$)/,
    (id) => `containerd container ${short(id)}`,
  ],
  [/(?:^|\/)kubepods[^/]*\/.*?(?<name>[0-9a-f]{64})(?:\/|$)/, (id) => `container ${short(id)}`],
  [/(?:^|\/)lxc\.payload[./](?<name>[^/]+)/, (name) => `LXC container ${name}`],
  [/^\/lxc\/(?<name>[^/]+)/, (name) => `LXC container ${name}`],
  [
    /(?:^|\/)machine-lxc\\x2d\d+\\x2d(?<name>[^/]+)\.scope(?:\/|$)/,
    (name) => `libvirt LXC container ${name}`,
  ],
  // libvirt registers its virtual machines at the same place: no containers.
  [
    /(?:^|\/)machine-(?!qemu\\x2d)(?<name>[^/]+)\.scope(?:\/|$)/,
    (name) => `systemd-nspawn container ${name}`,
  ],
  [/(?:^|\/)systemd-nspawn@(?<name>[^/]+)\.service(?:\/|$)/, (name) => `systemd-nspawn container ${name}`],
  [/(?:^|\/)app-flatpak-(?<name>[^/]+)-\d+\.scope(?:\/|$)/, (name) => `Flatpak ${name}`],
  [/(?:^|\/)snap\.(?<name>[^./]+)\.[^/]*(?:\/|$)/, (name) => `snap ${name}`],
];

/** The container that /proc/PID/cgroup names; undefined: none that is known. */
export function containerName(cgroup: string): string | undefined {
  const paths = cgroup
    .split('\n')
    .map((line) => /^\d+:[^:]*:(?<path>\/.*)$/.exec(line)?.groups?.['path'])
    .filter((path) => path !== undefined);
  for (const [pattern, words] of namings) {
    for (const path of paths) {
      const name = pattern.exec(path)?.groups?.['name'];
      if (name !== undefined) return withPod(words(unescapeUnit(name)), path);
    }
  }
  return undefined;
}

function short(id: string): string {
  return id.slice(0, idLength);
}

/** `pod<uid>` by cgroupfs, `kubepods-burstable-pod<uid>.slice` by systemd, where the uid has no dashes. */
function withPod(words: string, path: string): string {
  const uid = /(?:^|\/)(?:kubepods[^/]*-)?pod(?<uid>[0-9a-f]{8}[-_0-9a-f]{28})(?:\.slice)?\//.exec(path)
    ?.groups?.['uid'];
  return uid === undefined ? words : `${words} of Kubernetes pod ${uid.replaceAll('_', '-')}`;
}

/** systemd writes characters that a unit's name may not have as `\x2d` (systemd.unit(5)). */
function unescapeUnit(name: string): string {
  return name.replaceAll(/\\x([0-9a-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}
