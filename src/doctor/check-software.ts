/** Node, the kernel, native calls, the programs that Holdfast asks. */
import { closeSync, openSync } from 'node:fs';
import { causeText } from '../errors.js';
import { findCommand } from '../system/exec.js';
import { kernelRelease } from '../system/kernel-settings.js';
import { testLock } from '../system/ofd-lock.js';
import { finding, type Finding } from './finding.js';
import type { Host } from './host.js';

const nodeNeeded = [20, 19];
/** fcntl(2): open file description locks since Linux 3.15; pidfd_open(2) since 5.3. */
const kernelNeeded = [3, 15];
const kernelWanted = [5, 3];

export function checkSoftware(host: Host): Finding[] {
  return [
    checkNode(process.versions.node),
    ...checkKernel(kernelRelease(host.roots.proc)),
    checkNativeCalls(),
    ...checkTools(host),
  ];
}

export function checkNode(version: string): Finding {
  const what = `Node is ${version}`;
  return finding(isAtLeast(version, nodeNeeded) ? 'node-supported' : 'node-too-old', { what });
}

export function checkKernel(release: string | undefined): Finding[] {
  if (release === undefined) return [];
  const what = `the kernel is ${release}`;
  if (!isAtLeast(release, kernelNeeded)) return [finding('kernel-without-locks', { what })];
  return [finding(isAtLeast(release, kernelWanted) ? 'kernel-supported' : 'kernel-old', { what })];
}

function isAtLeast(version: string, [major = 0, minor = 0]: readonly number[]): boolean {
  const [ownMajor = 0, ownMinor = 0] = version.split(/[^0-9]+/).map(Number);
  return ownMajor > major || (ownMajor === major && ownMinor >= minor);
}

/** @param call makes one native call; throws if it cannot. */
export function checkNativeCalls(call: () => void = askForAnyLock): Finding {
  try {
    call();
    return finding('native-calls-work', { what: 'native calls work' });
  } catch (error) {
    return finding('native-calls-missing', {
      what: 'the C library cannot be called',
      evidence: [causeText(error)],
    });
  }
}

/** Asking takes nothing; the program that runs this is a file that is surely there. */
function askForAnyLock(): void {
  const fd = openSync(process.execPath, 'r');
  try {
    testLock(fd, 'write', 0);
  } finally {
    closeSync(fd);
  }
}

/** @param path as PATH, to look for programs in. */
export function checkTools(host: Pick<Host, 'libvirt'>, path: string = process.env['PATH'] ?? ''): Finding[] {
  const missing = [];
  if (!isInstalled('qemu-img', path))
    missing.push(finding('qemu-img-missing', { what: 'qemu-img is not installed' }));
  if (host.libvirt.length > 0 && !isInstalled('virsh', path)) {
    missing.push(
      finding('virsh-missing', { what: 'libvirt is configured here, and virsh is not installed' }),
    );
  }
  if (missing.length > 0) return missing;
  const tools = host.libvirt.length > 0 ? 'qemu-img and virsh are' : 'qemu-img is';
  return [finding('tools-found', { what: `${tools} installed` })];
}

function isInstalled(program: string, path: string): boolean {
  try {
    findCommand(program, path);
    return true;
  } catch {
    return false;
  }
}
