/**
 * Unix sockets as descriptors (unix(7)), for threads that serve many of them in a loop of their own (epoll.ts), and for
 * connections whose descriptor goes on to another program: Node's sockets hide theirs and close them.
 *
 * All are close-on-exec; those that were accepted and those made by `socketPair` with `blocking: false` never block.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { errno, libcFunction, systemError } from './libc.js';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_SEQPACKET = 5;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_SNDBUFFORCE = 32;
const SO_SNDTIMEO = 21;
const EINTR = 4;
const EAGAIN = 11;
const EPIPE = 32;
const ECONNRESET = 104;

const socket = libcFunction<[domain: number, type: number, protocol: number]>(
  'int socket(int domain, int type, int protocol)',
);
const bind = libcFunction<[fd: number, address: Buffer, length: number]>(
  'int bind(int fd, void *address, uint length)',
);
const connect = libcFunction<[fd: number, address: Buffer, length: number]>(
  'int connect(int fd, void *address, uint length)',
);
const listen = libcFunction<[fd: number, backlog: number]>('int listen(int fd, int backlog)');
const accept4 = libcFunction<[fd: number, address: null, length: null, flags: number]>(
  'int accept4(int fd, void *address, void *length, int flags)',
);
const recv = libcFunction<[fd: number, buffer: Buffer, length: number, flags: number]>(
  'int64_t recv(int fd, void *buffer, size_t length, int flags)',
);
const send = libcFunction<[fd: number, buffer: Buffer, length: number, flags: number]>(
  'int64_t send(int fd, void *buffer, size_t length, int flags)',
);
const socketpair = libcFunction<[domain: number, type: number, protocol: number, fds: Buffer]>(
  'int socketpair(int domain, int type, int protocol, void *fds)',
);
const setsockopt = libcFunction<[fd: number, level: number, name: number, value: Buffer, length: number]>(
  'int setsockopt(int fd, int level, int name, void *value, uint length)',
);

/** `struct sockaddr_un`: u16 family, then 108 bytes with the path and the zero behind it. */
const pathBytesMax = 107;

/** Makes the socket's file and listens. Throws what bind(2) says (`EADDRINUSE` where the file exists). */
export function listenUnix(path: string, backlog: number): number {
  return listenOn(newSocket(SOCK_STREAM | SOCK_NONBLOCK), path, backlog);
}

/** The same for a socket that keeps messages apart, as `messageSocketPair` does. */
export function listenMessages(path: string, backlog: number): number {
  return listenOn(newSocket(SOCK_SEQPACKET | SOCK_NONBLOCK), path, backlog);
}

function listenOn(fd: number, path: string, backlog: number): number {
  try {
    withAddress(path, (address) => {
      if (bind(fd, address, address.length) === -1) throw systemError('bind', errno(), path);
    });
    if (listen(fd, backlog) === -1) throw systemError('listen', errno(), path);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** A blocking connection. Throws what connect(2) says (`ENOENT`, `ECONNREFUSED`, `EACCES`). */
export function connectUnix(path: string): number {
  return connectTo(newSocket(SOCK_STREAM), path);
}

/** The same to a socket of `listenMessages`. */
export function connectMessages(path: string): number {
  return connectTo(newSocket(SOCK_SEQPACKET), path);
}

/** The same to a socket of datagrams, which never blocks. */
export function connectDatagrams(path: string): number {
  return connectTo(newSocket(SOCK_DGRAM | SOCK_NONBLOCK), path);
}

function connectTo(fd: number, path: string): number {
  try {
    withAddress(path, (address) => {
      if (connect(fd, address, address.length) === -1) throw systemError('connect', errno(), path);
    });
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * The next connection; undefined: there is none, or it went away again. Throws where no descriptor is left (`EMFILE`). It
 * does not block, unless it is to.
 */
export function acceptConnection(listening: number, blocking = false): number | undefined {
  const fd = accept4(listening, null, null, SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK));
  if (fd !== -1) return fd;
  const number = errno();
  // accept(2): errors of the new connection itself are no error of the listening socket.
  if (number === EAGAIN || number === EINTR || number === 103) return undefined;
  throw systemError('accept', number);
}

/** Two connected sockets that keep messages apart. Only the first can be made not to block. */
export function messageSocketPair(): [number, number] {
  const fds = Buffer.alloc(8);
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) === -1) throw systemError('socketpair');
  return [fds.readInt32LE(0), fds.readInt32LE(4)];
}

/** Lets `bytes` wait in the socket's queue; root gets more than the system's limit. */
export function setSendBuffer(fd: number, bytes: number): void {
  const value = Buffer.alloc(4);
  value.writeInt32LE(bytes);
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, value, 4) === -1) {
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, value, 4);
  }
}

/** A message that cannot be sent for so long is `EAGAIN`, on a socket that blocks. The limit has to be a whole number of seconds. */
export function setSendTimeout(fd: number, ms: number): void {
  // `struct timeval`: i64 seconds, i64 microseconds.
  const value = Buffer.alloc(16);
  value.writeBigInt64LE(BigInt(Math.ceil(ms / 1000)), 0);
  if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, value, value.length) === -1) throw systemError('setsockopt');
}

/** Bytes received into `buffer`; 0: the other end has closed; -1: there is nothing now. Never blocks. */
export function receive(fd: number, buffer: Buffer): number {
  const count = receiveOrReset(fd, buffer);
  return count === resetByPeer ? 0 : count;
}

/** In the place of a count: the other end has closed, and had not read all that it was sent (unix(7), `ECONNRESET`). */
export const resetByPeer = -2;

/** As `receive`, and tells `resetByPeer`. */
export function receiveOrReset(fd: number, buffer: Buffer): number {
  const count = recv(fd, buffer, buffer.length, MSG_DONTWAIT);
  if (count >= 0) return count;
  const number = errno();
  if (number === EAGAIN || number === EINTR) return -1;
  if (number === ECONNRESET) return resetByPeer;
  throw systemError('recv', number);
}

/** Bytes sent of `buffer`; 0: the other end has closed; -1: no more can be sent now. Never blocks. */
export function transmit(fd: number, buffer: Buffer): number {
  const count = send(fd, buffer, buffer.length, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (count >= 0) return count;
  const number = errno();
  if (number === EAGAIN || number === EINTR) return -1;
  if (number === EPIPE || number === ECONNRESET) return 0;
  throw systemError('send', number);
}

function newSocket(type: number): number {
  const fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  if (fd === -1) throw systemError('socket');
  return fd;
}

/** A path that is too long for an address is reached through its folder's descriptor. */
function withAddress(path: string, use: (address: Buffer) => void): void {
  if (Buffer.byteLength(path) <= pathBytesMax) {
    use(addressOf(path));
    return;
  }
  const folder = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    use(addressOf(`/proc/self/fd/${folder}/${basename(path)}`));
  } finally {
    closeSync(folder);
  }
}

function addressOf(path: string): Buffer {
  const address = Buffer.alloc(110);
  address.writeUInt16LE(AF_UNIX, 0);
  address.write(path, 2);
  return address;
}
