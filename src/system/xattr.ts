/**
 * Extended attributes of an open file (xattr(7)). Through a descriptor, so that they are those of the very inode that
 * is locked, whatever has its name by now.
 */
import { errno, libcFunction, systemError } from './libc.js';

/** The kernel's own limit of a list (limits.h, XATTR_LIST_MAX). */
const listBytesMax = 64 * 1024;
const XATTR_CREATE = 1;
const ENODATA = 61;
const ERANGE = 34;

const flistxattr = libcFunction<[fd: number, list: Buffer, size: number]>(
  'long flistxattr(int fd, void *list, size_t size)',
);
const fgetxattr = libcFunction<[fd: number, name: string, value: Buffer, size: number]>(
  'long fgetxattr(int fd, const char *name, void *value, size_t size)',
);
const fsetxattr = libcFunction<[fd: number, name: string, value: Buffer, size: number, flags: number]>(
  'int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)',
);
const fremovexattr = libcFunction<[fd: number, name: string]>('int fremovexattr(int fd, const char *name)');

/** The names of a file's attributes. Throws the system's error (ENOTSUP: the file system has none). */
export function attributeNames(fd: number): string[] {
  const list = Buffer.alloc(listBytesMax);
  const length = flistxattr(fd, list, list.length);
  if (length === -1) throw systemError('flistxattr');
  // Every name ends with a NUL.
  return list.toString('utf8', 0, length).split('\0').slice(0, -1);
}

/** The value of an attribute; undefined: there is none of that name, or it is longer than `bytesMax`. */
export function readAttribute(fd: number, name: string, bytesMax: number): Buffer | undefined {
  const value = Buffer.alloc(bytesMax);
  const length = fgetxattr(fd, name, value, bytesMax);
  if (length !== -1) return value.subarray(0, length);
  const number = errno();
  if (number === ENODATA || number === ERANGE) return undefined;
  throw systemError('fgetxattr', number);
}

/** Makes an attribute that must not be there yet (EEXIST). The descriptor need not be open for writing. */
export function createAttribute(fd: number, name: string, value: Buffer): void {
  if (fsetxattr(fd, name, value, value.length, XATTR_CREATE) === -1) throw systemError('fsetxattr');
}

/** Removes an attribute; one that is not there is no error. */
export function removeAttribute(fd: number, name: string): void {
  if (fremovexattr(fd, name) !== -1) return;
  const number = errno();
  if (number !== ENODATA) throw systemError('fremovexattr', number);
}
