/** Listening sockets that this process was started with (sd_listen_fds(3)). */
import { errno, fcntlNumber, libcFunction, systemError } from './libc.js';

const SOL_SOCKET = 1;
const SO_TYPE = 3;
const SO_ACCEPTCONN = 30;
const SO_DOMAIN = 39;
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const F_GETFL = 3;
const F_SETFL = 4;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
const O_NONBLOCK = 0o4000;

const getsockopt = libcFunction<[fd: number, level: number, name: number, value: Buffer, length: Buffer]>(
  'int getsockopt(int fd, int level, int name, void *value, void *length)',
);

/** Whether a descriptor is a unix socket on which connections can be accepted. */
export function isListening(fd: number): boolean {
  return (
    option(fd, SO_DOMAIN) === AF_UNIX &&
    option(fd, SO_TYPE) === SOCK_STREAM &&
    option(fd, SO_ACCEPTCONN) === 1
  );
}

/** Makes an inherited descriptor as those that this process opens: no child gets it, and no call on it blocks. */
export function makeOwn(fd: number): void {
  const flags = fcntlNumber(fd, F_GETFL, 0);
  if (
    flags === -1 ||
    fcntlNumber(fd, F_SETFL, flags | O_NONBLOCK) === -1 ||
    fcntlNumber(fd, F_SETFD, FD_CLOEXEC) === -1
  ) {
    throw systemError('fcntl', errno());
  }
}

/** Undefined: it is no socket, or none that has this. */
function option(fd: number, name: number): number | undefined {
  const value = Buffer.alloc(4);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(4);
  return getsockopt(fd, SOL_SOCKET, name, value, length) === -1 ? undefined : value.readInt32LE(0);
}
