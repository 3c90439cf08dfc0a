/** Says what a process is in the words of its user: the guest that it runs, the program, since when, as whom. */
import { basename } from 'node:path';
import { readProcess } from '../system/process.js';
import type { ProcessInfo } from '../system/process.js';
import { programWork } from './program-work.js';
import type { ProgramWork } from './program-work.js';
import { isQemuProgram, readGuest } from './qemu-command-line.js';

export interface ProcessDescription {
  readonly pid: number;
  readonly startTime: number;
  /** The program file's name; where that cannot be seen, the name that the process goes by. */
  readonly program: string;
  /** The guest that a QEMU runs. */
  readonly guest?: string;
  readonly uuid?: string;
  /** The libvirt that started it, the host's or a user's: `virsh` is the way to stop it. */
  readonly libvirt?: 'system' | 'session';
  /** It is libguestfs's appliance. `parent`: the program that uses libguestfs, where it started the appliance itself. */
  readonly appliance?: { readonly parent?: ProcessDescription };
  /** What a program that is known does with disks. */
  readonly work?: ProgramWork;
  /** A signal stopped it (SIGSTOP): it does nothing until it is told to go on. */
  readonly stopped: boolean;
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
  const work = programWork(program, info.argv);
  const appliance = guest?.appliance === true;
  return {
    pid,
    startTime: info.startTime,
    program,
    stopped: info.state === 'T',
    // The name of an appliance is made up by libguestfs and means nothing to anyone.
    ...(guest?.name === undefined || appliance ? {} : { guest: guest.name }),
    ...(guest?.uuid === undefined || appliance ? {} : { uuid: guest.uuid }),
    ...(guest?.libvirt === undefined ? {} : { libvirt: guest.libvirt }),
    ...(appliance ? { appliance: applianceOf(info.ppid, options) } : {}),
    ...(work === undefined ? {} : { work }),
    ...(info.user === undefined ? {} : { user: info.user }),
    ...(info.since === undefined ? {} : { since: info.since }),
  };
}

/** With its direct backend libguestfs starts QEMU as a child; with its libvirt backend QEMU belongs to process 1. */
function applianceOf(ppid: number, options: { readonly root?: string }): { parent?: ProcessDescription } {
  const parent = ppid <= 1 ? undefined : describeProcess(ppid, options);
  // A session's init can be another process than 1; it uses no libguestfs.
  return parent === undefined || /^(systemd|init|libvirtd|virtqemud)$/.test(parent.program) ? {} : { parent };
}

/** The command or the daemon of Holdfast. */
const own = /(?:^|\/)(?<name>holdfastd?)(?:\.js)?$/;

/**
 * The kernel's short name is cut off after 15 bytes, and may be a thread's (`MainThread`), so the first argument, which
 * all users can see, is better, unless the process wrote a title over it (`nginx: master process`).
 */
function programName({ exe, argv, comm }: ProcessInfo): string {
  // Of Holdfast itself the interpreter says nothing.
  if (exe === 'node') {
    const program = own.exec(argv.slice(1).find((word) => !word.startsWith('-')) ?? '')?.groups?.['name'];
    if (program !== undefined) return program;
  }
  if (exe !== undefined) return exe;
  const [first = ''] = argv;
  // A login shell has a dash in front.
  const named = basename(first).replace(/^-/, '');
  return named === '' || /[\s:]/.test(first) ? comm : named;
}
