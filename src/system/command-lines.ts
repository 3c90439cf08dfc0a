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

/** @param text one text, or several of which any will do. Some 10 us a process. Does not throw. */
export function processesNaming(text: string | readonly string[], root = '/proc'): NamingProcesses {
  const texts = typeof text === 'string' ? [text] : text;
  const names = (line: Buffer | undefined): boolean => texts.some((one) => line?.includes(one) === true);
  const pids = listPids(root);
  return {
    pids: pids.filter((pid) => names(readProcBytes(`${root}/${pid}/cmdline`, commandLineBytesMax))),
    // Process 1 of a pid namespace is always there.
    hidden: !pids.includes(1),
  };
}
