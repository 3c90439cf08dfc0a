/** Whether two processes mean the same process by a pid (pid_namespaces(7)). */
import { readlinkSync } from 'node:fs';

/** False only if it is known: another user's namespaces may not be read. */
export function maySharePids(pid: number, root = '/proc'): boolean {
  const [own, other] = [namespaceOf(root, 'self'), namespaceOf(root, pid)];
  return own === undefined || other === undefined || own === other;
}

function namespaceOf(root: string, pid: number | 'self'): string | undefined {
  try {
    return readlinkSync(`${root}/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}
