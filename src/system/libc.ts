/**
 * The C library's functions that Node does not offer. Only `system/` imports this.
 *
 * koffi is loaded at the first call, so that commands which lock nothing do not pay for it (7-12 ms).
 * Plain buffers and numbers are passed: 0.4-0.9 us a call, a koffi struct costs 2-4 us.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { join } from 'node:path';
import { getSystemErrorMap } from 'node:util';

type Koffi = Pick<typeof import('koffi'), 'load' | 'errno' | 'address' | 'view'>;

let loaded: Koffi | undefined;
let library: ReturnType<Koffi['load']> | undefined;

/** Loaded at the first call; only for `system/`. */
export function koffi(): Koffi {
  loaded ??= loadBinary() ?? (createRequire(import.meta.url)('koffi') as Koffi);
  return loaded;
}

/**
 * koffi's own binary, where npm usually puts it: its JavaScript, which looks for the binary, costs 5 ms of each
 * start, the binary 0.5 ms. Undefined (musl, another layout of packages): koffi shall find it itself.
 */
function loadBinary(): Koffi | undefined {
  const { arch } = process;
  const name = `@koromix/koffi-linux-${arch}/linux_${arch}/koffi.node`;
  const holder: { exports: Partial<Koffi> } = { exports: {} };
  // The folders that require() looks in, without its reading of package.json: half a millisecond.
  const folders = createRequire(import.meta.url).resolve.paths(name) ?? [];
  const file = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (file === undefined) return undefined;
  try {
    process.dlopen(holder, file);
  } catch {
    return undefined;
  }
  const { load, errno: lastErrno, address, view } = holder.exports;
  return load === undefined || lastErrno === undefined || address === undefined || view === undefined
    ? undefined
    : { load, errno: lastErrno, address, view };
}

/** Loads what the first call would: for who is about to open something that shall not be open for long. */
export function loadLibc(): void {
  library ??= koffi().load('libc.so.6');
}

/** A function of libc by its C prototype, bound at its first call. */
export function libcFunction<Args extends readonly unknown[]>(prototype: string): (...args: Args) => number {
  let bound: ((...args: Args) => number) | undefined;
  return (...args) => {
    if (bound === undefined) {
      loadLibc();
      bound = library?.func(prototype) as unknown as (...args: Args) => number;
    }
    return bound(...args);
  };
}

/** The errno of the last call, which koffi keeps for each call. */
export function errno(): number {
  return koffi().errno();
}

/** Where a buffer is, for a struct that points to it. It has to be one of Buffer.alloc, which is never a part of another, and has to live as long. */
export function libcAddress(buffer: Buffer): bigint {
  return koffi().address(buffer);
}

/** `bytes` of memory at an address that a native call gave, which has to stay as long as the buffer is used. */
export function libcView(address: number | bigint, bytes: number): Buffer {
  return Buffer.from(koffi().view(address, bytes));
}

const strerror = libcFunction<[number: number]>('const char *strerror(int number)');

/** What C programs say for an errno; libuv's texts, which Node has, differ. */
export function errorText(number: number): string {
  return String(strerror(number));
}

/** libuv's map has not all of them (ENOEXEC). */
function errorName(number: number): string {
  return Object.entries(constants.errno).find(([, value]) => value === number)?.[0] ?? `E${number}`;
}

/** An error of a native call, shaped like Node's own: `code`, `errno`, `syscall`. */
export function systemError(syscall: string, number: number = errno(), path?: string): NodeJS.ErrnoException {
  const [code, text] = getSystemErrorMap().get(-number) ?? [errorName(number), 'system error'];
  const error: NodeJS.ErrnoException = new Error(
    `${code}: ${text}, ${syscall}${path === undefined ? '' : ` '${path}'`}`,
  );
  error.code = code;
  error.errno = -number;
  error.syscall = syscall;
  if (path !== undefined) error.path = path;
  return error;
}

/** `fcntl` with a buffer (a struct) as its argument. Returns -1 on error. */
export const fcntlBuffer = libcFunction<[fd: number, command: number, argument: Buffer]>(
  'int fcntl(int fd, int command, void *argument)',
);

/** `fcntl` with a number as its argument. Returns -1 on error. */
export const fcntlNumber = libcFunction<[fd: number, command: number, argument: number]>(
  'int fcntl(int fd, int command, int argument)',
);
