/**
 * A file as memory (mmap(2), MAP_SHARED): what is written to it stands in the file at once, without a system call, and
 * stays when the process ends in whatever way.
 */
import { errno, libcFunction, libcView, systemError } from './libc.js';

const PROT_READ_AND_WRITE = 3;
const MAP_SHARED = 1;

const posixFallocate = libcFunction<[fd: number, offset: number, length: number]>(
  'int posix_fallocate(int fd, int64_t offset, int64_t length)',
);
const mmap = libcFunction<
  [address: null, length: number, protection: number, flags: number, fd: number, offset: number]
>('void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)');
const munmap = libcFunction<[address: bigint, length: number]>('int munmap(void *address, size_t length)');

export interface MappedFile {
  readonly bytes: Buffer;
  /** The bytes must not be touched after it. */
  readonly unmap: () => void;
}

/**
 * The first `length` bytes of a file, which is made so long: its space is taken now, for there is no error that
 * a write to memory could give later, only SIGBUS. Throws what posix_fallocate(3) or mmap(2) says (`ENOSPC`).
 */
export function mapFile(fd: number, length: number): MappedFile {
  // It gives the number of the error itself.
  const number = posixFallocate(fd, 0, length);
  if (number !== 0) throw systemError('posix_fallocate', number);
  const address = BigInt(mmap(null, length, PROT_READ_AND_WRITE, MAP_SHARED, fd, 0));
  if (address === 0n || BigInt.asIntN(64, address) === -1n) throw systemError('mmap', errno());
  return { bytes: libcView(address, length), unmap: () => void munmap(address, length) };
}
