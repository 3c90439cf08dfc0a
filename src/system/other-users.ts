/** Whether this process sees into those of other users. */
import { accessSync, constants } from 'node:fs';

/**
 * Whether only this user's processes show their descriptors. The first process is the system's: whoever may look into it
 * may look into all (proc(5), /proc/PID/fd: PTRACE_MODE_READ_FSCREDS). In a container of its own it is the user's,
 * and there are no others to see.
 */
export function sameUserOnly(root = '/proc'): boolean {
  try {
    accessSync(`${root}/1/fd`, constants.R_OK);
    return false;
  } catch {
    return true;
  }
}
