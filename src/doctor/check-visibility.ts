/** What can be seen from here, and the id of this host. */
import { readFileSync } from 'node:fs';
import { unseenProcesses } from '../holders/unseen-processes.js';
import { seesWholeHost } from '../system/container.js';
import { kernelSetting } from '../system/kernel-settings.js';
import { findOpenFiles } from '../system/open-files.js';
import { finding, type Finding } from './finding.js';
import type { Host } from './host.js';

export async function checkVisibility(host: Host): Promise<Finding[]> {
  const { etc, proc } = host.roots;
  return [...checkMachineId(etc), ...checkLeases(proc), ...(await checkProcesses(host))];
}

/** machine-id(5): 32 digits; empty, or the word `uninitialized`, in images that shall get one at their first start. */
function checkMachineId(etc: string): Finding[] {
  const subject = `${etc}/machine-id`;
  let text: string;
  try {
    text = readFileSync(subject, 'utf8').trim();
  } catch (error) {
    text = (error as NodeJS.ErrnoException).code ?? '';
    return [finding('machine-id-missing', { subject, what: `it cannot be read (${text})` })];
  }
  if (/^[0-9a-f]{32}$/.test(text) && !/^0+$/.test(text)) {
    return [finding('machine-id-set', { subject, what: 'the host has an id' })];
  }
  const what = text === '' ? 'it is empty' : `it has no id, but '${text.slice(0, 40)}'`;
  return [finding('machine-id-missing', { subject, what })];
}

function checkLeases(proc: string): Finding[] {
  const enabled = kernelSetting('fs/leases-enable', proc);
  if (enabled === undefined) return [];
  const off = enabled === '0';
  const evidence = [`fs.leases-enable = ${enabled}`];
  const what = off ? 'the kernel grants no file leases' : 'the kernel grants file leases';
  return [finding(off ? 'leases-off' : 'leases-on', { what, evidence })];
}

async function checkProcesses(host: Host): Promise<Finding[]> {
  const { roots, mounts, isRoot } = host;
  const options = mounts.get('/proc')?.at(-1)?.options ?? [];
  // proc(5): 0 or off, 1 or noaccess, 2 or invisible, 4 or ptraceable; root sees all of them all the same.
  const hidepid = options.find((option) => /^hidepid=(?!0$|off$)/.test(option));
  const found: Finding[] = [];
  if (hidepid !== undefined && !isRoot) {
    const what = "/proc does not show other users' processes";
    found.push(finding('processes-hidden', { what, evidence: [hidepid] }));
  } else if (!isRoot) {
    found.push(
      finding('processes-of-others', { what: 'you are not root: what others have open was not seen' }),
    );
  }
  if (isRoot) {
    // As `who` says it: root without its capabilities, or under a security module, is no root here.
    const unseen = unseenProcesses(
      { ...(await findOpenFiles([], { root: roots.proc })), hidden: false },
      roots.proc,
    );
    if (unseen !== undefined) found.push(finding('processes-closed', { what: `not seen: ${unseen}` }));
  }
  if (!seesWholeHost(roots.proc)) {
    const what = 'this runs in a container or another pid namespace';
    found.push(finding('host-not-seen', { what, evidence: [`${roots.proc}/self/ns/pid`] }));
  }
  return found.length > 0
    ? found
    : [finding('processes-visible', { what: 'all processes of this host can be seen' })];
}
