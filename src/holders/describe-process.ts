/** Says what a process is in the words of its user: the guest that it runs, the program, since when, as whom. */
import { basename } from 'node:path';
import { readProcess } from '../system/process.js';
import type { ProcessInfo } from '../system/process.js';
import { isQemuProgram, readGuest } from './qemu-command-line.js';

export interface ProcessDescription {
  readonly pid: number;
  readonly startTime: number;
  /** The program file's name; where that cannot be seen, the name that the process goes by. */
  readonly program: string;
  /** The guest that a QEMU runs. */
  readonly guest?: string;
  readonly uuid?: string;
  /** libvirt started it, so `virsh` is the way to stop it. */
  readonly libvirt: boolean;
  /** By name, or by number. */
  readonly user?: string;
  /** Since when it runs: ISO 8601, to the second, UTC. */
  readonly since?: string;
}

/**
 * @param options.root a recorded tree in place of /proc.
 * @returns undefined: there is no such process, or it is hidden.
 */
export function describeProcess(
  pid: number,
  options: { readonly root?: string } = {},
): ProcessDescription | undefined {
  const info = readProcess(pid, options);
  if (info === undefined) return undefined;
  const program = programName(info);
  // Only an emulator has a guest: anyone can have `-name` on the command line.
  const guest = isQemuProgram(program) ? readGuest(info.argv) : undefined;
  return {
    pid,
    startTime: info.startTime,
    program,
    libvirt: guest?.libvirt ?? false,
    ...(guest?.name === undefined ? {} : { guest: guest.name }),
    ...(guest?.uuid === undefined ? {} : { uuid: guest.uuid }),
    ...(info.user === undefined ? {} : { user: info.user }),
    ...(info.since === undefined ? {} : { since: info.since }),
  };
}

/**
 * The kernel's short name is cut off after 15 bytes, and may be a thread's (`MainThread`), so the first argument, which
 * all users can see, is better, unless the process wrote a title over it (`nginx: master process`).
 */
function programName({ exe, argv, comm }: ProcessInfo): string {
  if (exe !== undefined) return exe;
  const [first = ''] = argv;
  // A login shell has a dash in front.
  const named = basename(first).replace(/^-/, '');
  return named === '' || /[\s:]/.test(first) ? comm : named;
}
