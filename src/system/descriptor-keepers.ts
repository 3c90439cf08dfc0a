/** Who has a descriptor of something that has no path: /proc/PID/fd shows it as `socket:[INODE]` (proc_pid_fd(5)). */
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { listPids, processStartTime } from './process.js';

export interface DescriptorKeeper {
  readonly pid: number;
  readonly startTime: number;
}

/** What a descriptor of this process is shown as; undefined: it is closed. */
export function descriptorLink(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined;
  }
}

/** Those of other processes that may be looked into. */
export function descriptorKeepers(link: string, root = '/proc'): readonly DescriptorKeeper[] {
  return listPids(root).flatMap((pid) => {
    if (pid === process.pid || !has(join(root, String(pid), 'fd'), link)) return [];
    const startTime = processStartTime(pid);
    return startTime === undefined ? [] : [{ pid, startTime }];
  });
}

function has(folder: string, link: string): boolean {
  try {
    return readdirSync(folder).some((fd) => isLinkTo(join(folder, fd), link));
  } catch {
    return false; // It has ended, or is another user's.
  }
}

function isLinkTo(path: string, link: string): boolean {
  try {
    return readlinkSync(path) === link;
  } catch {
    return false;
  }
}
