/** Who is at the other end of a unix socket, as of its connect (unix(7), SO_PEERCRED). */
import { libcFunction, systemError } from './libc.js';

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERGROUPS = 59;
/** The kernel's limit of a process (NGROUPS_MAX). */
const groupsMax = 65_536;

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

/** Its groups, as of its connect: that of its credentials, and the supplementary ones (Linux 4.13). */
export function peerGroups(fd: number): readonly number[] {
  const groups = Buffer.alloc(groupsMax * 4);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(groups.length);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, bytes) === -1) throw systemError('getsockopt');
  const count = bytes.readUInt32LE(0) / 4;
  const supplementary = Array.from({ length: count }, (_, index) => groups.readUInt32LE(index * 4));
  return [...new Set([peerCredentials(fd).gid, ...supplementary])];
}
