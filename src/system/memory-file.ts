/** A file that is in no file system (memfd_create(2)): memory that two processes share, and that ends with the last of them. */
import { libcFunction, systemError } from './libc.js';

const MFD_CLOEXEC = 1;

const memfdCreate = libcFunction<[name: string, flags: number]>(
  'int memfd_create(const char *name, uint flags)',
);

/** @param name shown in /proc/PID/fd, and means nothing. */
export function newMemoryFile(name: string): number {
  const fd = memfdCreate(name, MFD_CLOEXEC);
  if (fd === -1) throw systemError('memfd_create');
  return fd;
}
