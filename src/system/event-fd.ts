/** A descriptor that wakes a thread which waits in epoll (eventfd(2)). */
import { errno, libcFunction, systemError } from './libc.js';
import { readSync, writeSync } from 'node:fs';

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
const EAGAIN = 11;

const eventfd = libcFunction<[value: number, flags: number]>('int eventfd(uint value, int flags)');
const one = Buffer.alloc(8);
one.writeBigUInt64LE(1n);

export function newEventFd(): number {
  const fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd === -1) throw systemError('eventfd', errno());
  return fd;
}

/** Makes it readable; can be called from any thread of the process. */
export function wake(fd: number): void {
  writeSync(fd, one);
}

/** Makes it unreadable again. */
export function calm(fd: number): void {
  try {
    readSync(fd, Buffer.alloc(8));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).errno !== -EAGAIN) throw error;
  }
}
