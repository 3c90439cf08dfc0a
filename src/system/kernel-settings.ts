/** What the kernel says of itself: its version, its settings, the sockets that somebody listens on. */
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
