/** What stands at a path, without opening it: a named pipe would block, a device could wake. */
import { accessSync, constants, existsSync, realpathSync, statSync, type BigIntStats } from 'node:fs';
import { printable as printableText } from '../printable.js';
import { HoldfastError, causeText, type ErrorDetails } from '../errors.js';
import type { ErrorCode, Inode } from '../vocabulary.js';
import { deviceName, inodeOf } from '../system/inode.js';

export interface Seen {
  /** Absolute, as written. */
  readonly path: string;
  readonly realPath: string;
  readonly inode: Inode;
  readonly storage: 'file' | 'block' | 'directory';
  /** Of a block device: `major:minor`. */
  readonly device?: string;
}

/** What an image's header or a path brought, printable and not endless. */
export function printable(text: string): string {
  const limit = 300;
  return printableText(text.length > limit ? `${text.slice(0, limit)}...` : text);
}

function storageOf(stats: BigIntStats): Seen['storage'] | undefined {
  if (stats.isFile()) return 'file';
  if (stats.isBlockDevice()) return 'block';
  return stats.isDirectory() ? 'directory' : undefined;
}

/**
 * The path without symlinks. Node can neither say nor use a name that is not UTF-8: where one is on the way, the path
 * as it is, which leads to the same place.
 */
function realPathOf(path: string): string {
  const real = realpathSync.native(path);
  return real.includes('\uFFFD') && !existsSync(real) ? path : real;
}

/** What an errno means for somebody who wrote this path. A NUL in a path is Node's ERR_INVALID_ARG_VALUE. */
function codeOf(error: unknown): ErrorCode {
  const missing = ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG', 'ERR_INVALID_ARG_VALUE'];
  return missing.includes((error as NodeJS.ErrnoException).code ?? '') ? 'NO_SUCH_FILE' : 'NOT_READABLE';
}

/** Whether an error says that there is nothing at the path: what an optional source may be. */
export function isMissing(error: unknown): boolean {
  return error instanceof HoldfastError && error.code === 'NO_SUCH_FILE';
}

/**
 * Looks at a path that somebody named. `what` says for messages what it is (`disk vda`).
 * Throws `NO_SUCH_FILE`, `NOT_READABLE`, `NOT_A_DISK`. `identityOnly`: its content need not be readable.
 */
export function lookAtPath(
  path: string,
  what: string,
  details: ErrorDetails = {},
  identityOnly = false,
): Seen {
  const fail = (code: ErrorCode, why: string, cause?: unknown): HoldfastError =>
    new HoldfastError(code, `${printable(path)} (${what}) ${why}`, { resource: path, ...details, cause });
  let realPath: string;
  let stats: BigIntStats;
  try {
    realPath = realPathOf(path);
    stats = statSync(realPath, { bigint: true });
  } catch (error) {
    const code = codeOf(error);
    const why = code === 'NO_SUCH_FILE' ? 'does not exist' : 'cannot be reached';
    throw fail(code, `${why}: ${printable(causeText(error))}`, error);
  }
  const storage = storageOf(stats);
  if (storage === undefined) {
    throw fail('NOT_A_DISK', 'is neither a regular file, nor a block device, nor a directory');
  }
  try {
    if (!identityOnly) accessSync(realPath, constants.R_OK);
  } catch (error) {
    throw fail('NOT_READABLE', `cannot be read: ${printable(causeText(error))}`, error);
  }
  return {
    path,
    realPath,
    inode: inodeOf(stats),
    storage,
    ...(storage === 'block' ? { device: deviceName(stats.rdev) } : {}),
  };
}

/** The number, `major:minor`, of a character device: the memory of a guest can be one (DAX). */
export function characterDevice(path: string): string | undefined {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats?.isCharacterDevice() === true ? deviceName(stats.rdev) : undefined;
}

/** Like `lookAtPath` for what nobody named, such as the disk around a partition: not there is no error. */
export function glanceAtPath(path: string): Seen | undefined {
  try {
    const realPath = realPathOf(path);
    const stats = statSync(realPath, { bigint: true });
    const storage = storageOf(stats);
    if (storage === undefined) return undefined;
    return {
      path,
      realPath,
      inode: inodeOf(stats),
      storage,
      ...(storage === 'block' ? { device: deviceName(stats.rdev) } : {}),
    };
  } catch {
    return undefined;
  }
}
