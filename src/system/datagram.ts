/** One datagram to a unix socket (unix(7)), which Node has no sockets for. */
import { closeSync } from 'node:fs';
import { errno, libcFunction, systemError } from './libc.js';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** `struct sockaddr_un`: u16 family, then 108 bytes of path. */
const pathOffset = 2;
const pathBytesMax = 107;

const socket = libcFunction<[domain: number, type: number, protocol: number]>(
  'int socket(int domain, int type, int protocol)',
);
const sendto = libcFunction<
  [fd: number, bytes: Buffer, length: number, flags: number, address: Buffer, addressLength: number]
>('int64_t sendto(int fd, void *bytes, size_t length, int flags, void *address, uint address_length)');

/** `path`: absolute, or a name of the abstract namespace behind an `@`. Throws what the system says; never blocks. */
export function sendDatagram(path: string, text: string): void {
  const name = Buffer.from(path);
  if (name.length > pathBytesMax) throw new RangeError(`${path} is too long for the address of a socket`);
  const address = Buffer.alloc(pathOffset + name.length + (path.startsWith('@') ? 0 : 1));
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, pathOffset);
  if (path.startsWith('@')) address[pathOffset] = 0;
  const bytes = Buffer.from(text);
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd === -1) throw systemError('socket');
  try {
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    if (sendto(fd, bytes, bytes.length, flags, address, address.length) === -1) {
      throw systemError('sendto', errno(), path);
    }
  } finally {
    closeSync(fd);
  }
}
