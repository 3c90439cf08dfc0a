/** Signals to a process that cannot reach another one that got its pid (pidfd_open(2), pidfd_send_signal(2)). */
import { closeSync } from 'node:fs';
import { errno, libcFunction, systemError } from './libc.js';
import { processStartTime } from './process.js';

const SYS_pidfd_send_signal = 424;
const SYS_pidfd_open = 434;
const ESRCH = 3;
const EINVAL = 22;

const syscall = libcFunction<[number: number, a: number, b: number, c: number, d: number]>(
  'long syscall(long number, long a, long b, long c, long d)',
);

/** Sends a signal to the process of that pid and start time. False: it has ended, or may not be signalled. */
export function signalProcess(pid: number, startTime: number, signal: number): boolean {
  const fd = syscall(SYS_pidfd_open, pid, 0, 0, 0);
  if (fd === -1) return false;
  try {
    // The descriptor is of whoever has the pid now: only if that is who was meant may the signal go out.
    if (processStartTime(pid) !== startTime) return false;
    return syscall(SYS_pidfd_send_signal, fd, signal, 0, 0) === 0;
  } finally {
    closeSync(fd);
  }
}

/**
 * A descriptor that becomes readable when the process of that pid and start time ends. Undefined: it has ended.
 * Throws where it may not be had (`EPERM`, `EMFILE`).
 */
export function openProcess(pid: number, startTime: number): number | undefined {
  const fd = syscall(SYS_pidfd_open, pid, 0, 0, 0);
  if (fd === -1) {
    const number = errno();
    if (number === ESRCH || number === EINVAL) return undefined;
    throw systemError('pidfd_open', number);
  }
  if (processStartTime(pid) === startTime) return fd;
  closeSync(fd);
  return undefined;
}

/** Sends a signal to the process of a descriptor of `openProcess`. False: it has ended, or may not be signalled. */
export function signalDescriptor(pidfd: number, signal: number): boolean {
  return syscall(SYS_pidfd_send_signal, pidfd, signal, 0, 0) === 0;
}
