import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { containerName, containerOf, seesWholeHost } from '../../src/system/container.js';
import { startProgram } from '../holders/actor.js';
import { needs } from '../needs.js';

const id = '3f2a91c0d4e5'.padEnd(64, '0');
const uid = '0123abcd-0123-4567-89ab-0123456789ab';

test('control groups of containers, in words', () => {
  const cases: [cgroup: string, words: string | undefined][] = [
    [`0::/system.slice/docker-${id}.scope`, 'docker container 3f2a91c0d4e5'],
    [`12:memory:/docker/${id}\n1:name=systemd:/docker/${id}`, 'docker container 3f2a91c0d4e5'],
    [`0::/docker/${id}/init.scope`, 'docker container 3f2a91c0d4e5'],
    [`0::/machine.slice/libpod-${id}.scope/container`, 'podman container 3f2a91c0d4e5'],
    [
      `0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${id}.scope`,
      'podman container 3f2a91c0d4e5',
    ],
    [
      `0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${uid.replaceAll('-', '_')}.slice/cri-containerd-${id}.scope`,
      `containerd container 3f2a91c0d4e5 of Kubernetes pod ${uid}`,
    ],
    [
      `0::/kubepods.slice/kubepods-pod${uid.replaceAll('-', '_')}.slice/crio-${id}.scope`,
      `CRI-O container 3f2a91c0d4e5 of Kubernetes pod ${uid}`,
    ],
    [`4:cpu:/kubepods/burstable/pod${uid}/${id}`, `container 3f2a91c0d4e5 of Kubernetes pod ${uid}`],
    [`0::/system.slice/nerdctl-${id}.scope`, 'containerd container 3f2a91c0d4e5'],
    ['0::/lxc.payload.web/system.slice/ssh.service', 'LXC container web'],
    ['5:devices:/lxc/web/init.scope', 'LXC container web'],
    ['0::/machine.slice/machine-web\\x2dserver.scope', 'systemd-nspawn container web-server'],
    ['0::/machine.slice/systemd-nspawn@web.service/payload', 'systemd-nspawn container web'],
    ['0::/machine.slice/machine-lxc\\x2d42\\x2dweb.scope/libvirt', 'libvirt LXC container web'],
    ['0::/user.slice/app-flatpak-org.gnome.Boxes-4711.scope', 'Flatpak org.gnome.Boxes'],
    ['0::/system.slice/snap.multipass.multipassd.service', 'snap multipass'],
    ['0::/machine.slice/machine-qemu\\x2d1\\x2dweb1.scope/libvirt/emulator', undefined],
    ['0::/system.slice/docker.service', undefined],
    ['0::/system.slice/containerd.service', undefined],
    ['0::/system.slice/snapd.service', undefined],
    ['0::/user.slice/user-0.slice/session-1.scope', undefined],
    [`0::/docker-${id.slice(1)}.scope`, undefined],
    ['0::/', undefined],
    ['', undefined],
    ['nonsense\n::\n0:', undefined],
  ];
  for (const [cgroup, words] of cases) assert.equal(containerName(`${cgroup}\n`), words, cgroup);
});

interface Recorded {
  readonly cgroup?: string;
  readonly pidNamespace?: string;
  readonly nsPid?: string;
}

function record(root: string, name: string, { cgroup, pidNamespace, nsPid }: Recorded): void {
  mkdirSync(join(root, name, 'ns'), { recursive: true });
  if (cgroup !== undefined) writeFileSync(join(root, name, 'cgroup'), cgroup);
  if (pidNamespace !== undefined) symlinkSync(`pid:[${pidNamespace}]`, join(root, name, 'ns/pid'));
  if (nsPid !== undefined)
    writeFileSync(join(root, name, 'status'), `Name:\tx\nNSpid:\t${nsPid}\nNSpgid:\t9\t9\n`);
}

test('recorded: where a process lives, seen from here', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'proc-'));
  t.after(() => rmSync(root, { recursive: true }));
  const docker = `0::/system.slice/docker-${id}.scope\n`;
  record(root, 'self', { cgroup: '0::/\n', pidNamespace: '1', nsPid: '9' });
  record(root, '10', { cgroup: docker, pidNamespace: '2', nsPid: '10\t1' });
  record(root, '11', { cgroup: docker, pidNamespace: '1', nsPid: '11' });
  record(root, '12', { cgroup: '0::/\n', pidNamespace: '2', nsPid: '12\t3\t7' });
  record(root, '13', { cgroup: '0::/\n', nsPid: '13\t7' });
  record(root, '14', { cgroup: '0::/\n', nsPid: '14' });
  record(root, '15', { cgroup: '0::/\n', pidNamespace: '3' });
  record(root, '16', { cgroup: '0::/\n', pidNamespace: '1', nsPid: '16' });
  record(root, '17', { cgroup: 'nonsense', nsPid: 'nonsense' });
  const expected: [pid: number, words: string | undefined][] = [
    [10, 'docker container 3f2a91c0d4e5'],
    // docker run --pid=host
    [11, 'docker container 3f2a91c0d4e5'],
    [12, 'another pid namespace (pid 7 there)'],
    [13, 'another pid namespace (pid 7 there)'],
    [14, undefined],
    [15, 'another pid namespace'],
    [16, undefined],
    [17, undefined],
    [18, undefined],
  ];
  for (const [pid, words] of expected) assert.equal(containerOf(pid, { root }), words, String(pid));
});

test('recorded: inside a container its own processes are in none', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'proc-'));
  t.after(() => rmSync(root, { recursive: true }));
  const docker = `0::/docker/${id}\n`;
  record(root, 'self', { cgroup: docker, pidNamespace: '2', nsPid: '9' });
  record(root, '10', { cgroup: docker, pidNamespace: '2', nsPid: '10' });
  record(root, '11', { cgroup: docker, pidNamespace: '3', nsPid: '11\t1' });
  assert.equal(containerOf(10, { root }), undefined);
  assert.equal(containerOf(11, { root }), 'another pid namespace (pid 1 there)');
  assert.equal(seesWholeHost(root), false);
  assert.equal(seesWholeHost(join(root, 'none')), false);
  rmSync(join(root, 'self/ns/pid'));
  symlinkSync('pid:[4026531836]', join(root, 'self/ns/pid'));
  assert.equal(seesWholeHost(root), true);
});

test('a real process in a pid namespace of its own, seen from outside and inside', async (t) => {
  if (!needs(t, 'root', 'unshare')) return;
  await using outer = await startProgram(
    'unshare',
    ['-p', '-f', '--mount-proc', 'sh', '-c', 'readlink /proc/self/ns/pid; echo ready; read x; exit'],
    'ready',
  );
  const child = Number(readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, 'utf8').trim());
  assert.equal(containerOf(child), 'another pid namespace (pid 1 there)');
  assert.equal(containerOf(outer.pid), undefined);
  assert.equal(containerOf(process.pid), undefined);
  // From inside, where process 1 is not what it is outside.
  const source = `import { containerOf, seesWholeHost } from ${JSON.stringify(new URL('../../src/system/container.ts', import.meta.url).href)};
    console.log(JSON.stringify([containerOf(1) ?? null, containerOf(process.pid) ?? null, seesWholeHost()]));`;
  const output = execFileSync(
    'unshare',
    ['-p', '-f', '--mount-proc', process.execPath, '--import', 'tsx', '--input-type=module', '-e', source],
    { encoding: 'utf8' },
  );
  assert.deepEqual(JSON.parse(output), [null, null, false]);
});
