/** Signals to a process that cannot reach another one that got its pid (pidfd_open(2), pidfd_send_signal(2)). */
import { closeSync } from 'node:fs';
import { errno, libcFunction, systemError } from './libc.js';
import { processStartTime } from './process.js';

const SYS_pidfd_send_signal = 424;
const SYS_pidfd_open = 434;
const ESRCH = 3;
const EINVAL = 22;
const EMFILE = 24;

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
  const found = processStartTime(pid);
  if (found === startTime) return fd;
  // One that runs has a start time: where it cannot be read, this is not known to be another process.
  const isUnknown = found === undefined && !hasEnded(fd);
  closeSync(fd);
  if (isUnknown) throw systemError('open', EMFILE, `/proc/${pid}/stat`);
  return undefined;
}

/** As `processStartTime`, for whom it matters that there is no such process. Throws where that cannot be known (`EMFILE`). */
export function knownStartTime(pid: number): number | undefined {
  const startTime = processStartTime(pid);
  if (startTime !== undefined) return startTime;
  const fd = syscall(SYS_pidfd_open, pid, 0, 0, 0);
  const number = errno();
  if (fd === -1 && (number === ESRCH || number === EINVAL)) return undefined;
  if (fd === -1) throw systemError('pidfd_open', number);
  const ended = hasEnded(fd);
  closeSync(fd);
  if (!ended) throw systemError('open', EMFILE, `/proc/${pid}/stat`);
  return undefined;
}

/** `struct pollfd`: i32 descriptor, i16 events, i16 what of them is. */
const pollFd = Buffer.alloc(8);
const POLLIN = 1;
const poll = libcFunction<[fds: Buffer, count: number, timeoutMs: number]>(
  'int poll(void *fds, ulong count, int timeout)',
);

/** Whether the process of a descriptor of `openProcess` has ended. */
export function hasEnded(pidfd: number): boolean {
  pollFd.writeInt32LE(pidfd, 0);
  pollFd.writeInt16LE(POLLIN, 4);
  return poll(pollFd, 1, 0) === 1;
}

/** Sends a signal to the process of a descriptor of `openProcess`. False: it has ended, or may not be signalled. */
export function signalDescriptor(pidfd: number, signal: number): boolean {
  return syscall(SYS_pidfd_send_signal, pidfd, signal, 0, 0) === 0;
}
