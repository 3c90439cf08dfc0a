/** Whether what is written to a pipe or a socket reaches anybody still. */
import { libcFunction } from './libc.js';

const poll = libcFunction<[descriptors: Buffer, count: number, timeoutMs: number]>(
  'int poll(void *descriptors, unsigned long count, int timeout)',
);

const POLLERR = 0x8;
const POLLHUP = 0x10;

/** Without writing anything: poll(2) tells that the last reader has closed its end. False for files and terminals that are there. */
export function isReaderGone(fd: number): boolean {
  // `struct pollfd`: i32 descriptor, i16 events asked for, i16 events there are.
  const pollfd = Buffer.alloc(8);
  pollfd.writeInt32LE(fd, 0);
  return poll(pollfd, 1, 0) > 0 && (pollfd.readInt16LE(6) & (POLLERR | POLLHUP)) !== 0;
}
