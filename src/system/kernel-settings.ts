/** What the kernel says of itself: its version, its settings, the sockets that somebody listens on. */
import { statSync } from 'node:fs';
import type { Inode } from '../vocabulary.js';
import { inodeOf } from './inode.js';
import { readProcText } from './proc-file.js';

const settingBytesMax = 4096;
/** A line has some 100 bytes; a busy host has some thousands of sockets. */
const socketsBytesMax = 16 * 1024 * 1024;

/** `6.1.0-18-amd64`, or undefined where it cannot be read. */
export function kernelRelease(proc = '/proc'): string | undefined {
  return kernelSetting('kernel/osrelease', proc);
}

/** A setting of /proc/sys (sysctl(8)) by its path there: `fs/leases-enable`. */
export function kernelSetting(name: string, proc = '/proc'): string | undefined {
  return readProcText(`${proc}/sys/${name}`, settingBytesMax)?.trim();
}

/** The paths of unix sockets that somebody listens on, in this network namespace (proc_pid_net(5), /proc/net/unix). */
export function listeningSockets(proc = '/proc'): string[] {
  return parseListeningSockets(readProcText(`${proc}/net/unix`, socketsBytesMax) ?? '');
}

export function parseListeningSockets(text: string): string[] {
  // Num: RefCount Protocol Flags Type St Inode Path; the flag is __SO_ACCEPTCON.
  return text.split('\n').flatMap((line) => {
    const found = /^[0-9a-f]+: [0-9A-Fa-f]{8} [0-9A-Fa-f]{8} 00010000 \S+ \S+ +\d+ (\/.*)$/.exec(line);
    return found?.[1] ?? [];
  });
}

/** What a path leads to for another process, which may have another root or mount namespace; undefined: not to be seen. */
export function fileOfProcess(
  pid: number,
  path: string,
  proc = '/proc',
): { readonly inode: Inode; readonly regular: boolean; readonly device?: bigint } | undefined {
  try {
    const base = path.startsWith('/') ? `${proc}/${pid}/root` : `${proc}/${pid}/cwd/`;
    const stats = statSync(base + path, { bigint: true });
    return {
      inode: inodeOf(stats),
      regular: stats.isFile(),
      ...(stats.isBlockDevice() ? { device: stats.rdev } : {}),
    };
  } catch {
    return undefined;
  }
}
