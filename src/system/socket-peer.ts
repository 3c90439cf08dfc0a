/** Who is at the other end of a connected unix socket, and whether there is anybody, or anything to receive. */
import { errno, libcFunction, systemError } from './libc.js';

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const MSG_PEEK = 2;
const MSG_DONTWAIT = 0x40;
const POLLIN = 1;
const EAGAIN = 11;
const EINTR = 4;
/** `struct pollfd`: i32 descriptor, i16 events, i16 what happened. */
const pollfdBytes = 8;
/** `struct ucred`: i32 pid, u32 uid, u32 gid. */
const ucredBytes = 12;

const recv = libcFunction<[fd: number, bytes: Buffer, length: number, flags: number]>(
  'int64_t recv(int fd, void *bytes, size_t length, int flags)',
);
const poll = libcFunction<[fds: Buffer, count: number, ms: number]>(
  'int poll(void *fds, unsigned long count, int ms)',
);
const getsockopt = libcFunction<[fd: number, level: number, name: number, value: Buffer, length: Buffer]>(
  'int getsockopt(int fd, int level, int name, void *value, void *length)',
);

/** The process that listened, as of that moment (unix(7)). A pid of 0: one that this process's pid namespace has no number for. */
export function peerOf(fd: number): { readonly pid: number; readonly uid: number; readonly gid: number } {
  const value = Buffer.alloc(ucredBytes);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(ucredBytes);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length) === -1) throw systemError('getsockopt');
  return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
}

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
