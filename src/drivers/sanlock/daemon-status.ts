/**
 * What sanlock's own command tells and its client library does not: which process here has which lease, and how the
 * hosts of a lockspace are called. The parsers are functions of its text (3.8).
 */
import { execFile } from 'node:child_process';
import { nameBytesMax } from './client-structs.js';

const answerBytesMax = 16 * 1024 * 1024;
const answerMsMax = 10_000;

/** A process of this host that is registered with the daemon. */
export interface RegisteredProcess {
  readonly pid: number;
  /** As it calls itself. */
  readonly name: string;
}

/** A lease that a process of this host holds. */
export interface HeldLease {
  readonly lockspace: string;
  readonly name: string;
  readonly shared: boolean;
  readonly pid: number;
}

export interface DaemonStatus {
  readonly processes: readonly RegisteredProcess[];
  readonly leases: readonly HeldLease[];
}

/** How a host of a lockspace is seen from here. Seconds of this host's CLOCK_MONOTONIC. */
export interface HostSeen {
  readonly hostId: number;
  /** As it calls itself (`our_host_name`), or an uuid. */
  readonly name: string;
  readonly generation: bigint;
  /** 0: it has left. */
  readonly timestamp: bigint;
  readonly ioTimeoutS: number;
  /** When it was last seen to renew. 0: never since this host joined. */
  readonly lastLiveS: number;
  readonly lastCheckS: number;
}

/** `sanlock client status`: `p PID NAME` and `r LOCKSPACE:NAME:PATH:OFFSET:VERSION p PID`. */
export function parseStatus(text: string): DaemonStatus {
  const processes: RegisteredProcess[] = [];
  const leases: HeldLease[] = [];
  for (const line of text.split('\n')) {
    const [, pidText, name] = /^p (\d+) ?(.*)$/.exec(line) ?? [];
    if (pidText !== undefined) processes.push({ pid: Number(pidText), name: name ?? '' });
    // Names of lockspaces and leases have no colon where sanlock writes them down: it could not tell them apart itself.
    const lease = /^r ([^:]*):([^:]*):.*:(\d+|SH) p (\d+)$/.exec(line);
    if (lease === null) continue;
    const [, lockspace = '', resource = '', version, holder] = lease;
    leases.push({
      lockspace: nameIn(lockspace),
      name: nameIn(resource),
      shared: version === 'SH',
      pid: Number(holder),
    });
  }
  return { processes, leases };
}

/** sanlock keeps names without a final 0: behind one of 48 bytes there can be a byte more of what comes next in memory (3.8.5). */
function nameIn(text: string): string {
  const bytes = Buffer.from(text);
  return bytes.length > nameBytesMax ? bytes.toString('utf8', 0, nameBytesMax) : text;
}

/** `sanlock client host_status -s LOCKSPACE -D`: for each host `ID timestamp SECONDS`, then indented `key=value`. */
export function parseHostStatus(text: string): readonly HostSeen[] {
  return text
    .split(/^(?=\d+ timestamp )/m)
    .filter((block) => /^\d+ timestamp /.test(block))
    .map((block) => {
      const value = (key: string): string => new RegExp(`^\\s+${key}=(.*)$`, 'm').exec(block)?.[1] ?? '';
      const number = (key: string): number => Number(/^\d+$/.exec(value(key))?.[0] ?? 0);
      return {
        hostId: number('owner_id'),
        name: value('owner_name').trim(),
        generation: BigInt(number('owner_generation')),
        timestamp: BigInt(number('timestamp')),
        ioTimeoutS: number('io_timeout'),
        lastLiveS: number('last_live'),
        lastCheckS: number('last_check'),
      };
    });
}

/** Who holds what on this host. Undefined: the command is not there, or the daemon does not answer it. */
export async function daemonStatus(): Promise<DaemonStatus | undefined> {
  const text = await ask('status');
  return text === undefined ? undefined : parseStatus(text);
}

/** The hosts of a lockspace that this host has joined. Undefined: as above. */
export async function hostStatus(lockspace: string): Promise<readonly HostSeen[] | undefined> {
  const text = await ask('host_status', '-s', lockspace, '-D');
  return text === undefined ? undefined : parseHostStatus(text);
}

function ask(...args: readonly string[]): Promise<string | undefined> {
  return new Promise((resolve) => {
    // Where the daemon is, its command is: Debian keeps both in /usr/sbin, which a user's PATH may not have.
    const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`, LC_ALL: 'C' };
    const options = { env, timeout: answerMsMax, maxBuffer: answerBytesMax };
    execFile('sanlock', ['client', ...args], options, (error, stdout) =>
      resolve(error === null ? stdout : undefined),
    );
  });
}
