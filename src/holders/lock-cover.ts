/** Who is covered by whose lock: not every program locks what it writes itself, and need not. */
import { readProcessStat } from '../system/process.js';
import type { ProcessUse } from './process-use.js';

/** More than this deep no process tree goes; and a chain that is read step by step while it changes could be a circle. */
const ancestorsMax = 64;

/**
 * The process whose lock covers a writer without one: an ancestor (a command under `holdfast run --supervise`,
 * or one that closed the descriptors it inherited), or for a guest the virtlockd that libvirt asked.
 */
export function coveredBy(writer: ProcessUse, all: readonly ProcessUse[]): ProcessUse | undefined {
  const locked = all.filter((use) => use.locked && use.pid !== writer.pid);
  if (locked.length === 0) return undefined;
  for (let pid = writer.pid, depth = 0; depth < ancestorsMax; depth++) {
    const parent = readProcessStat(pid)?.ppid;
    if (parent === undefined || parent <= 1) break;
    const found = locked.find((use) => use.pid === parent);
    if (found !== undefined) return found;
    pid = parent;
  }
  return writer.process.guest === undefined ? undefined : locked.find((use) => use.virtlockd);
}
