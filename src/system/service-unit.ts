/**
 * The unit of systemd in whose control group this process stands (proc(5), /proc/PID/cgroup). When a service ends, systemd ends
 * all that stands in its group, whoever started it and whatever it is for.
 */
import { readFileSync } from 'node:fs';
import { readProcText } from './proc-file.js';

/** The kernel allows 6 MiB; systemd's own variables of a service stand before what that adds. */
const environmentBytesMax = 256 * 1024;

export interface ServiceUnit {
  /** `holdfastd.service`. */
  readonly name: string;
  /** It is one of a user's own systemd. */
  readonly user: boolean;
}

/** Undefined: it stands in no service. */
export function ownServiceUnit(root = '/proc'): ServiceUnit | undefined {
  try {
    return serviceUnitIn(readFileSync(`${root}/self/cgroup`, 'utf8'));
  } catch {
    return undefined;
  }
}

/**
 * The service that a process is the first one of: systemd started it itself (SYSTEMD_EXEC_PID, systemd.exec(5)), has its sockets, and
 * acts when it ends. Undefined: none, or it cannot be seen.
 */
export function serviceStartedAs(pid: number, root = '/proc'): ServiceUnit | undefined {
  const environment = readProcText(`${root}/${pid}/environ`, environmentBytesMax) ?? '';
  if (!environment.split('\0').includes(`SYSTEMD_EXEC_PID=${pid}`)) return undefined;
  return serviceUnitIn(readProcText(`${root}/${pid}/cgroup`, environmentBytesMax) ?? '');
}

/** What has systemd put the installed build in the place of the one that runs. */
export function reloadCommand({ name, user }: ServiceUnit): string {
  return `systemctl ${user ? '--user ' : ''}reload ${name}`;
}

/**
 * `text`: lines of `HIERARCHY:CONTROLLERS:PATH`. systemd's own is the one without controllers (the second version of control groups),
 * or `name=systemd` (the first); a host can have both, and use one.
 */
export function serviceUnitIn(text: string): ServiceUnit | undefined {
  for (const line of text.split('\n')) {
    const path = /^\d+:(?:name=systemd)?:(.*)$/.exec(line)?.[1];
    const parts = path?.split('/') ?? [];
    // A service may have groups of its own below; a scope inside `user@1000.service` is a unit of its own.
    const name = parts.findLast((part) => /\.(?:service|scope)$/.test(part));
    if (name === undefined) continue;
    if (name.endsWith('.scope') || usersSystemd.test(name)) return undefined;
    return { name, user: parts.some((part) => usersSystemd.test(part)) };
  }
  return undefined;
}

const usersSystemd = /^user@\d+\.service$/;
