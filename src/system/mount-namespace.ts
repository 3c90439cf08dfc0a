/** Whether two processes mean the same file by a path (mount_namespaces(7), chroot(2)). */
import { readlinkSync } from 'node:fs';

/** False only if it is known: another user's namespaces may not be read. */
export function maySharePaths(pid: number, root = '/proc'): boolean {
  return ['ns/mnt', 'root'].every((name) => {
    try {
      return readlinkSync(`${root}/${pid}/${name}`) === readlinkSync(`${root}/self/${name}`);
    } catch {
      return true;
    }
  });
}
