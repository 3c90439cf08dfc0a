/** Whether there is still anybody at the other end of a connected socket, or anything to receive. */
import { errno, libcFunction } from './libc.js';

const MSG_PEEK = 2;
const MSG_DONTWAIT = 0x40;
const POLLIN = 1;
const EAGAIN = 11;
const EINTR = 4;
/** `struct pollfd`: i32 descriptor, i16 events, i16 what happened. */
const pollfdBytes = 8;

const recv = libcFunction<[fd: number, bytes: Buffer, length: number, flags: number]>(
  'int64_t recv(int fd, void *bytes, size_t length, int flags)',
);
const poll = libcFunction<[fds: Buffer, count: number, ms: number]>(
  'int poll(void *fds, unsigned long count, int ms)',
);
/** Whether the other end is open still, taking nothing out of what has come. */
export function peerIsThere(fd: number): boolean {
  const count = recv(fd, Buffer.alloc(1), 1, MSG_PEEK | MSG_DONTWAIT);
  if (count !== -1) return count > 0;
  const number = errno();
  return number === EAGAIN || number === EINTR;
}

/** Stops this thread until something can be received, for some milliseconds at most. */
export function awaitReadable(fd: number, ms: number): void {
  const fds = Buffer.alloc(pollfdBytes);
  fds.writeInt32LE(fd, 0);
  fds.writeInt16LE(POLLIN, 4);
  poll(fds, 1, ms);
}
