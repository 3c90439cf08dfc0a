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

/** Errors after which nothing can stand at the path. A NUL in a path is Node's ERR_INVALID_ARG_VALUE. */
const missing: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  ENOTDIR: 'cannot exist: a part of the path is a file, not a directory',
  ELOOP: 'leads nowhere: its symlinks lead to one another',
  ENAMETOOLONG: 'cannot exist: the path is too long',
  ERR_INVALID_ARG_VALUE: 'does not exist',
};

/** What an error means for somebody who wrote this path. */
function meaningOf(error: unknown): { readonly code: ErrorCode; readonly why: string } {
  const { code = '' } = error as NodeJS.ErrnoException;
  const why = Object.hasOwn(missing, code) ? missing[code] : undefined;
  return why === undefined
    ? { code: 'NOT_READABLE', why: 'cannot be reached' }
    : { code: 'NO_SUCH_FILE', why };
}

/** Whether an error says that there is nothing at the path: what an optional source may be. */
export function isMissing(error: unknown): boolean {
  return error instanceof HoldfastError && error.code === 'NO_SUCH_FILE';
}

/** What to do where `web1.img:ro` is written, and `web1.img` is what there is. */
function remedyForColon(path: string): ErrorDetails {
  const name = path.lastIndexOf('/') + 1;
  const colon = path.indexOf(':', name);
  const before = path.slice(0, colon);
  if (colon <= name || !existsSync(before)) return {};
  const form = '--disk PATH[:exclusive|shared|read|peek][:format=FORMAT]';
  return { remedy: `There is ${printable(before)}; to say how to lock it, write ${form}.` };
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
  const fail = (code: ErrorCode, why: string, cause?: unknown): HoldfastError => {
    const remedy = code === 'NO_SUCH_FILE' ? remedyForColon(path) : {};
    const all = { resource: path, ...remedy, ...details, cause };
    return new HoldfastError(code, `${printable(path)} (${what}) ${why}`, all);
  };
  let realPath: string;
  let stats: BigIntStats;
  try {
    realPath = realPathOf(path);
    stats = statSync(realPath, { bigint: true });
  } catch (error) {
    const { code, why } = meaningOf(error);
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
