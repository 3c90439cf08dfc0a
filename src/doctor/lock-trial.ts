/**
 * Whether locks work on a file system, found out by locking: a private file of the doctor's own in the folder, which
 * is removed at once.
 *
 * Two open file descriptions in one process conflict as those of two processes do (fcntl(2)), so one process is enough.
 */
import { closeSync, constants, existsSync, openSync, statSync, unlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { causeText } from '../errors.js';
import { testLock, tryLock } from '../system/ofd-lock.js';
import { randomHex } from '../system/random.js';

export type LockTrial =
  | { readonly outcome: 'works' | 'broken'; readonly evidence: string }
  /** It could not be tried, `readOnly`: by nobody; `asked`: the kernel answers questions about locks of the file. */
  | {
      readonly outcome: 'untried';
      readonly asked: boolean;
      readonly readOnly: boolean;
      readonly evidence: string;
    };

/** The first byte, as all drivers lock. */
const byte = 0;
const { O_RDWR, O_RDONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants;
/** Where no file can be made: nothing is wrong with the locks. */
const notHere: readonly (string | undefined)[] = ['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT'];

/**
 * @param folder where the private file goes.
 * @param file is asked about instead where none can be made; without it nothing is.
 */
export function tryLocksIn(folder: string, file?: string): LockTrial {
  let trial: LockTrial;
  try {
    trial = withPrivateFile(folder, (path) => conflictBetween(path, path));
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (syscall === 'fcntl') return { outcome: 'broken', evidence: causeText(error) };
    if (!notHere.includes(code)) throw error;
    trial = {
      outcome: 'untried',
      asked: file !== undefined && isAnswered(file),
      readOnly: code === 'EROFS',
      evidence: causeText(error),
    };
  }
  return trial;
}

/**
 * The same through two mounts of one storage: `folder` and `other` are one folder.
 * Undefined: no file can be made, or it does not show in the other.
 */
export function tryLocksAcross(folder: string, other: string): LockTrial | undefined {
  try {
    return withPrivateFile(folder, (path) => {
      const there = join(other, basename(path));
      return existsSync(there) ? conflictBetween(path, there) : undefined;
    });
  } catch {
    return undefined;
  }
}

function withPrivateFile<Result>(folder: string, use: (path: string) => Result): Result {
  const path = join(folder, `.holdfast-doctor-${randomHex(8)}`);
  closeSync(openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600));
  try {
    return use(path);
  } finally {
    unlinkSync(path);
  }
}

/** Whether a lock through one path keeps a lock through the other out. Throws what fcntl(2) does. */
function conflictBetween(one: string, two: string): LockTrial {
  const first = openSync(one, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
  try {
    const second = openSync(two, O_RDWR | O_NOFOLLOW | O_NONBLOCK);
    try {
      if (!tryLock(first, 'write', byte)) {
        return { outcome: 'broken', evidence: `the first lock of ${one} was refused` };
      }
      const refused = !tryLock(second, 'write', byte);
      const seen = testLock(second, 'write', byte) !== undefined;
      const evidence = `fcntl(F_OFD_SETLK) through a second descriptor of ${two}: ${refused ? 'refused' : 'granted'}`;
      return { outcome: refused && seen ? 'works' : 'broken', evidence };
    } finally {
      closeSync(second);
    }
  } finally {
    closeSync(first);
  }
}

function isAnswered(file: string): boolean {
  let fd: number | undefined;
  try {
    if (!statSync(file).isFile()) return false;
    fd = openSync(file, O_RDONLY | O_NONBLOCK);
    testLock(fd, 'write', byte);
    return true;
  } catch {
    return false;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** The folder that a disk's private file goes to: its own. */
export function folderOf(path: string, storage: 'file' | 'block' | 'directory'): string {
  return storage === 'directory' ? path : dirname(path);
}
