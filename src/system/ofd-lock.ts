/**
 * Open file description locks (fcntl(2), "Open file description locks").
 *
 * They belong to the open file description: dup, fork, exec and SCM_RIGHTS keep them, the last close drops
 * them. Closing *another* descriptor of the same file drops nothing, unlike POSIX locks, which are never used.
 */
import { errno, fcntlBuffer, systemError } from './libc.js';

const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;
const EACCES = 13;
const EAGAIN = 11;

/** `struct flock` on 64-bit Linux: i16 type, i16 whence, 4 bytes padding, i64 start, i64 len, i32 pid, padding. */
const flockBytes = 32;
const flock = Buffer.alloc(flockBytes);
/** Of what F_OFD_SETLK is given, which the kernel does not change: what stands in it, and everything at once. */
const wanted = Buffer.alloc(flockBytes);
let wantedIs = { type: 0, start: 0, length: 0 };
const unlocked = fillIn(Buffer.alloc(flockBytes), F_UNLCK, 0, 0);

export type LockType = 'read' | 'write';

/** A lock that stands in the way of one that was tested. */
export interface Conflict {
  readonly type: LockType;
  readonly start: number;
  /** Bytes; 0 is to the end of the file. */
  readonly length: number;
  /** Of a POSIX lock; an OFD lock has none. */
  readonly pid?: number;
}

/** As writeBigInt64LE would: a bigint for each would cost half as much as the system call. */
function writeOffset(buffer: Buffer, value: number, at: number): void {
  buffer.writeUInt32LE(value % 2 ** 32, at);
  buffer.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

function fillIn(buffer: Buffer, type: number, start: number, length: number): Buffer {
  // The pid has to be 0 on every OFD call: a buffer that GETLK filled holds -1, and the next call fails with EINVAL.
  buffer.fill(0);
  buffer.writeInt16LE(type, 0);
  writeOffset(buffer, start, 8);
  writeOffset(buffer, length, 16);
  return buffer;
}

/** Most locks are the same byte of another file. */
function fillWanted(type: number, start: number, length: number): Buffer {
  if (wantedIs.type !== type || wantedIs.start !== start || wantedIs.length !== length) {
    fillIn(wanted, type, start, length);
    wantedIs = { type, start, length };
  }
  return wanted;
}

/** Takes, or converts to, a lock. False: someone else's lock is in the way. Throws on any other error. */
export function tryLock(fd: number, type: LockType, start: number, length = 1): boolean {
  const request = fillWanted(type === 'read' ? F_RDLCK : F_WRLCK, start, length);
  if (fcntlBuffer(fd, F_OFD_SETLK, request) !== -1) return true;
  const number = errno();
  if (number === EAGAIN || number === EACCES) return false;
  throw systemError('fcntl', number);
}

/**
 * Gives back every lock of an open file, and so also those of its duplicates in other processes, which closing one
 * descriptor does not. Only for a file that no command inherited.
 */
export function unlockAll(fd: number): void {
  if (fcntlBuffer(fd, F_OFD_SETLK, unlocked) === -1) throw systemError('fcntl');
}

/** What would stand in the way of a lock, taking none. Works on a descriptor opened only for reading. */
export function testLock(fd: number, type: LockType, start: number, length = 1): Conflict | undefined {
  if (
    fcntlBuffer(fd, F_OFD_GETLK, fillIn(flock, type === 'read' ? F_RDLCK : F_WRLCK, start, length)) === -1
  ) {
    throw systemError('fcntl');
  }
  const found = flock.readInt16LE(0);
  if (found === F_UNLCK) return undefined;
  const pid = flock.readInt32LE(24);
  return {
    type: found === F_RDLCK ? 'read' : 'write',
    start: Number(flock.readBigInt64LE(8)),
    length: Number(flock.readBigInt64LE(16)),
    ...(pid > 0 ? { pid } : {}),
  };
}
