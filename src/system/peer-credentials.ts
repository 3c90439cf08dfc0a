/** Who is at the other end of a unix socket, as of its connect (unix(7), SO_PEERCRED). */
import { libcFunction, systemError } from './libc.js';

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

const getsockopt = libcFunction<[fd: number, level: number, name: number, value: Buffer, length: Buffer]>(
  'int getsockopt(int fd, int level, int name, void *value, void *length)',
);
/** `struct ucred`: i32 pid, u32 uid, u32 gid. */
const credentials = Buffer.alloc(12);
const length = Buffer.alloc(4);

export function peerCredentials(fd: number): PeerCredentials {
  length.writeUInt32LE(credentials.length);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length) === -1) throw systemError('getsockopt');
  return {
    pid: credentials.readInt32LE(0),
    uid: credentials.readUInt32LE(4),
    gid: credentials.readUInt32LE(8),
  };
}
