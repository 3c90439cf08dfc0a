/** Which processes have a text on their command line: /proc/PID/cmdline (proc_pid_cmdline(5)), which every user may read. */
import { listPids } from './process.js';
import { readProcBytes } from './proc-file.js';

/** libvirt's QEMU command lines are 10 to 60 KiB; the kernel allows 6 MiB, and nobody needs those. */
const commandLineBytesMax = 256 * 1024;

export interface NamingProcesses {
  /** In the order of the procfs. */
  readonly pids: readonly number[];
  /** /proc is mounted so (hidepid) that other users' processes do not even show. */
  readonly hidden: boolean;
}

/** Some 10 us a process. Does not throw. */
export function processesNaming(text: string, root = '/proc'): NamingProcesses {
  const pids = listPids(root);
  return {
    pids: pids.filter((pid) => readProcBytes(`${root}/${pid}/cmdline`, commandLineBytesMax)?.includes(text)),
    // Process 1 of a pid namespace is always there.
    hidden: !pids.includes(1),
  };
}
